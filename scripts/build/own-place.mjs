// @ts-check
// Keeps what a file says about its own place true after it was compiled into another file.

/** What a file may call its own place, and the constants that stand for it. */
export const ownPlace = {
  'import.meta.url': 'sourceUrl',
  'import.meta.filename': 'sourceFile',
  'import.meta.dirname': 'sourceFolder',
  __filename: 'sourceFile',
  __dirname: 'sourceFolder',
}

/**
 * The text with the constants, if it needs them; `url` is the expression of its URL. They are on the first line, so that the lines of
 * the source map stay right.
 * @param {string} text @param {string} url
 */
export function withOwnPlace(text, url) {
  if (!Object.keys(ownPlace).some((name) => text.includes(name))) return undefined
  const declared =
    `const sourceUrl = ${url}, sourceFile = decodeURIComponent(new URL(sourceUrl).pathname), ` +
    `sourceFolder = sourceFile.replace(/.[^/]*$/, '');`
  return declared + text
}
