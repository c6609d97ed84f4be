# Opens every case of the corpus through dm-crypt. /cases has a line for each: NUMBER, first 512-byte sector and
# sectors of its header's device on the drive, the same of its data's device (0 0: they are one).
# Prints: verdict NUMBER READ-ONLY-EXIT-CODE READ-WRITE-EXIT-CODE SHA256-OF-PLAINTEXT; `-` is what was not tried.
# What is not opened for reading is not tried for writing.
drive=/dev/vda
place() {
  dmsetup create "$1" --table "0 $3 linear $drive $2"
}
attempt() {
  # The limit is for costs that no one waits for: the emulated machine takes seconds where a real one takes none.
  timeout -s KILL 30 cryptsetup open --batch-mode --key-file /key "$@" plain 2>/dev/null
}
while read -r number start sectors data_start data_sectors; do
  for name in plain data case; do
    [ ! -e "/dev/mapper/$name" ] || dmsetup remove "$name"
  done
  if [ "$sectors" = 0 ]; then
    echo "verdict $number - - -"
    continue
  fi
  place case "$start" "$sectors"
  set -- /dev/mapper/case
  if [ "$data_start" != 0 ]; then
    if [ "$data_sectors" = 0 ]; then
      echo "verdict $number - - -"
      continue
    fi
    place data "$data_start" "$data_sectors"
    set -- --header /dev/mapper/case /dev/mapper/data
  fi
  reading=0 writing=- sum=-
  attempt --readonly "$@" || reading=$?
  if [ "$reading" = 0 ]; then
    sum=$(sha256sum /dev/mapper/plain | cut -d' ' -f1)
    cryptsetup close plain
    writing=0
    attempt "$@" || writing=$?
    [ "$writing" != 0 ] || cryptsetup close plain
  fi
  echo "verdict $number $reading $writing $sum"
done </cases
