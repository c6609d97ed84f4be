# Opens every drive through dm-crypt. Each holds a volume that lucarne made; its serial number is its name.
# Prints: NAME SHA256-OF-PLAINTEXT SECTOR-SIZE KEY-BYTES, and for file systems, after writing into one, the hash again.
for block in /sys/block/vd*; do
  device=/dev/${block##*/}
  name=$(cat "$block/serial")
  cryptsetup open --key-file /key "$device" "$name"
  # "0 16384 crypt aes-xts-plain64 :64:logon:... 0 254:0 2048 1 sector_size:4096"
  table=$(dmsetup table "$name")
  sector_size=$(echo "$table" | sed -n 's/.*sector_size:\([0-9]*\).*/\1/p')
  key_bytes=$(echo "$table" | awk '{ split($5, key, ":"); print (key[2] ? key[2] : length($5) / 2) }')
  echo "opened $name $(sha256sum "/dev/mapper/$name" | cut -d' ' -f1) ${sector_size:-512} $key_bytes"
  case $name in
    ext4-*)
      e2fsck -fn "/dev/mapper/$name" >/tmp/e2fsck 2>&1 || { cat /tmp/e2fsck; exit 1; }
      mount -t ext4 "/dev/mapper/$name" /mnt
      (cd /mnt && sha256sum -c -s /sums)
      cp /sums "/mnt/written by the kernel"
      umount /mnt
      echo "files $name $(grep -c . /sums)"
      sync
      echo "written $name $(sha256sum "/dev/mapper/$name" | cut -d' ' -f1)"
      ;;
  esac
  cryptsetup close "$name"
done
