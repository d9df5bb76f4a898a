#!/bin/sh
# An external special remote that keeps objects in a directory. What it says on a request can be
# changed by a file beside it, called on-REQUEST.
set -f
here=${0%/*}
say() { printf '%s\n' "$*"; }
hear() { IFS= read -r line || exit 0; }
named() { printf '%s/%s' "$objects" "$(printf %s "$1" | md5sum | cut -c1-32)"; }
done_or_not() { if [ "$1" = 0 ]; then say "$2-SUCCESS $3"; else say "$2-FAILURE $3 it failed"; fi; }

say $$ >>"$here/started"
if [ -e "$here/on-start" ]; then . "$here/on-start"; else say VERSION 1; fi
while hear; do
    request=${line%% *} rest=${line#* }
    key=${rest%% *}
    if [ -e "$here/on-$request" ]; then . "$here/on-$request"; continue; fi
    case $request in
    EXTENSIONS) say EXTENSIONS INFO ;;
    PREPARE)
        say GETCONFIG directory
        hear
        objects=${line#VALUE }
        say PREPARE-SUCCESS
        ;;
    CHECKPRESENT)
        if [ -e "$here/asks" ]; then
            while IFS= read -r ask <&3; do
                [ -z "$ask" ] || say "$ask"
                hear
                say "$line" >>"$here/answers"
            done 3<"$here/asks"
        fi
        [ ! -e "$here/notes" ] || cat "$here/notes"
        if [ ! -d "$objects" ]; then say "CHECKPRESENT-UNKNOWN $key it is gone"
        elif [ -e "$(named "$key")" ]; then say "CHECKPRESENT-SUCCESS $key"
        else say "CHECKPRESENT-FAILURE $key"; fi
        ;;
    TRANSFER)
        way=$key rest=${rest#* }
        key=${rest%% *} file=${rest#* }
        case $way in
        STORE) cp -- "$file" "$objects/new.$$" && mv "$objects/new.$$" "$(named "$key")" ;;
        RETRIEVE) cp "$(named "$key")" "$file" ;;
        esac
        done_or_not $? TRANSFER "$way $key"
        ;;
    REMOVE)
        rm -f "$(named "$key")"
        done_or_not $? REMOVE "$key"
        ;;
    INITREMOTE) say INITREMOTE-SUCCESS ;;
    *) say UNSUPPORTED-REQUEST ;;
    esac
done
