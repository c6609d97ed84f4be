# Formats every drive with cryptsetup and writes it through dm-crypt; its serial number, SECTOR-SIZE-KEY-BITS, says how.
# Prints: NAME SHA256-OF-PLAINTEXT.
for block in /sys/block/vd*; do
  device=/dev/${block##*/}
  name=$(cat "$block/serial")
  cryptsetup luksFormat --batch-mode --type luks2 --cipher aes-xts-plain64 \
    --sector-size "${name%-*}" --key-size "${name#*-}" --offset 2048 --luks2-keyslots-size 512k \
    --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file /key "$device" >/dev/null
  cryptsetup open --key-file /key "$device" "$name"
  mkfs.ext4 -q -F "/dev/mapper/$name"
  mount -t ext4 "/dev/mapper/$name" /mnt
  mkdir /mnt/folder
  cp /payload "/mnt/folder/$name"
  umount /mnt
  sync
  echo "made $name $(sha256sum "/dev/mapper/$name" | cut -d' ' -f1)"
  cryptsetup close "$name"
done
