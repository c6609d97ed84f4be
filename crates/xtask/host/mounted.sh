# Runs a command in the folder of a volume's ext4 file system, mounted through the file of `lucarne serve --fuse` and a
# loop device: mounted.sh LUCARNE IMAGE KEY-FILE make|keep COMMAND... `make` makes the file system first, `keep` mounts
# the one that is there, and only for reading.
lucarne=$1 image=$2 key=$3 how=$4
shift 4
place=$(mktemp -d)
server='' device=''
end() {
  status=$?
  set +e
  cd /
  ! mountpoint -q "$place/files" || umount "$place/files" || status=1
  [ -z "$device" ] || losetup --detach "$device" || status=1
  # It ends once the loop device has let go of the file.
  [ -z "$server" ] || { kill -INT "$server" && wait "$server"; } || status=1
  rm -rf --one-file-system "$place"
  exit "$status"
}
trap end EXIT
mkdir "$place/plaintext" "$place/files"
# dm-crypt's device has the volume's sectors, and mounts no file system of smaller blocks: nor must this one make such.
if [ "$how" = make ]; then
  read_only='' sectors='--sector-size 4096'
else
  read_only=--read-only sectors=''
fi
"$lucarne" serve $read_only --fuse "$place/plaintext" --key-file "$key" "$image" >"$place/path" &
server=$!
until [ -s "$place/path" ]; do
  kill -0 "$server"
  sleep 0.05
done
device=$(losetup --find --show --direct-io=on $sectors $read_only "$(cat "$place/path")")
[ "$how" != make ] || mkfs.ext4 -q "$device"
mount -t ext4 ${read_only:+-o ro} "$device" "$place/files"
cd "$place/files"
"$@"
cd /
