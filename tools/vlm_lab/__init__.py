"""Parts of the script that trains vision-language models; not in the wheel."""
