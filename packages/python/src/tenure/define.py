"""``python -m tenure.define models/churn.py`` prints the definition of a model file as JSON."""

import sys

from ._define import main

if __name__ == "__main__":
    main(sys.argv[1:])
