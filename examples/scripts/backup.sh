#!/bin/sh
# Copies the data into an archive, and says how far it is.
set -eu
into=$1
mkdir -p "$into"
archive=$into/data.tar
rm -f "$archive.part"
total=$(find data -type f | wc -l)
count=0
for file in data/*; do
    count=$((count + 1))
    echo "$count of $((total)): $file"
    if [ -e "$archive.part" ]; then
        tar -rf "$archive.part" "$file"
    else
        tar -cf "$archive.part" "$file"
    fi
done
# Whole or not at all.
mv "$archive.part" "$archive"
echo "$archive"
