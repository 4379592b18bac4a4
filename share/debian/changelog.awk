# Makes Debian's changelog of the topmost release in CHANGELOG.md, with lines of 80 characters at most:
# awk -v version=… -v date=… -v maintainer=… -f changelog.awk CHANGELOG.md

function put_item(    words, count, i, line) {
    count = split(item, words, " ")
    line = "  *"
    for (i = 1; i <= count; i++) {
        if (length(line) + length(words[i]) >= 80) {
            print line
            line = "   "
        }
        line = line " " words[i]
    }
    if (count > 0) print line
    item = ""
}

/^## \[[0-9]/ { put_item(); releases++ }
releases != 1 { next }
/^## / { printf "trackalert (%s) unstable; urgency=medium\n\n", version }
/^$/ || /^#/ { put_item() }
/^- / { put_item(); item = substr($0, 3) }
/^  [^ ]/ { item = item " " $0 }

END {
    put_item()
    printf "\n -- %s  %s\n", maintainer, date
}
