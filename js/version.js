/** Of the pack, as in pyproject.toml; a test holds the two equal. */
export const VERSION = "0.1.0"
