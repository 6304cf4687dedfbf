"""Redis as opgrid uses it: where it is, how it is reached, which keys it holds and the scripts that change them."""
