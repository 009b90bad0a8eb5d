# Print the path of a Python 3.12 to 3.14 for uv, or nothing: then uv looks for one itself.
# Interpreters that pyenv holds but has not selected are found too (its shims would answer "command not found").
ok='import sys; sys.exit(not (3, 12) <= sys.version_info < (3, 15))'
for version in 3.12 3.13 3.14; do
  for python in "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python3 "$(command -v "python$version")"; do
    if [ -x "$python" ] && "$python" -c "$ok" 2>/dev/null; then
      echo "$python"
      exit 0
    fi
  done
done
