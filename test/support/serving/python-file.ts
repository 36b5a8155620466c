/** Writes files of models that are code, without Python. */

/** The file of a model with one number as its answer, and by default as its column. Reading it runs `code`, whose function `answer` answers rows. */
export function pythonFile(
  code: string,
  {
    python,
    packages = {},
    columns = [{ name: 'size', isText: false }],
    frames = false,
  }: {
    python: string
    packages?: Record<string, string>
    columns?: readonly { name: string; isText: boolean }[]
    /** Whether `answer` gets a data frame of pandas, which the packages must have. */
    frames?: boolean
  },
): Buffer {
  const head = {
    python,
    packages,
    library: 'Python',
    columns,
    frames,
    outputs: 1,
  }
  const run = `(lambda found: (exec(${JSON.stringify(code)}, found), found.get('answer'))[1])({})`
  return Buffer.concat([
    Buffer.from(`TENURE-PYTHON 1\n${JSON.stringify(head)}\n`),
    // The oldest form of a pickle: calls `eval` with one text.
    Buffer.from(`cbuiltins\neval\n(V${escaped(run)}\ntR.`, 'latin1'),
  ])
}

/** A text of such a pickle ends with its line, and has other characters by their numbers. */
const escaped = (text: string): string =>
  text.replace(/[\\\n\x7f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
