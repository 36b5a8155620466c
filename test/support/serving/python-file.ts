/** Writes files of models that are code, without Python. */

/** The file of a model with one number as its column and its answer. Reading it runs `code`, whose function `answer` answers rows. */
export function pythonFile(
  code: string,
  { python, packages = {} }: { python: string; packages?: Record<string, string> },
): Buffer {
  const head = {
    python,
    packages,
    library: 'Python',
    columns: [{ name: 'size', isText: false }],
    frames: false,
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
