// @ts-check
// Keeps expressions such as `import.meta.url` correct after a file is compiled into another file.

/** The expressions for the location of a file, and the constants that replace them. */
export const ownPlace = {
  'import.meta.url': 'sourceUrl',
  'import.meta.filename': 'sourceFile',
  'import.meta.dirname': 'sourceFolder',
  __filename: 'sourceFile',
  __dirname: 'sourceFolder',
}

/**
 * Returns the text with the constants, if it uses them; `url` is the expression of the file's URL. The constants are on the first line, so
 * that the line numbers of the source map stay correct.
 * @param {string} text @param {string} url
 */
export function withOwnPlace(text, url) {
  if (!Object.keys(ownPlace).some((name) => text.includes(name))) return undefined
  const declared =
    `const sourceUrl = ${url}, sourceFile = decodeURIComponent(new URL(sourceUrl).pathname), ` +
    `sourceFolder = sourceFile.replace(/.[^/]*$/, '');`
  return declared + text
}
