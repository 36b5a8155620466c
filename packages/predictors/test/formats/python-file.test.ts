/** Tests that a file of a model that is code is read without running it, and refused where its description is wrong. */
import { describe, expect, it } from 'vitest'
import { fileNameOf, formatOf, open } from '../../src/index.ts'
import { readPythonFile } from '../../src/formats/python/python-file.ts'

const head = {
  python: '3.11.7',
  packages: { numpy: '2.4.6' },
  library: 'scikit-learn 1.9.1',
  columns: [
    { name: 'colour', isText: true, categories: ['red'] },
    { name: 'size', isText: false },
  ],
  outputs: 1,
  frames: true,
}
const fileOf = (changes: object = {}): Buffer =>
  Buffer.from(`TENURE-PYTHON 1\n${JSON.stringify({ ...head, ...changes })}\nnever read here`)

it('names its library, its packages and its columns', () => {
  expect(readPythonFile(fileOf())).toEqual({
    python: '3.11.7',
    packages: { numpy: '2.4.6' },
    library: 'scikit-learn 1.9.1',
    columns: [
      { name: 'colour', isText: true },
      { name: 'size', isText: false },
    ],
    outputs: 1,
  })
})

describe('is refused', () => {
  const files: [file: Buffer, why: string][] = [
    [Buffer.from('PICKLE'), 'does not begin as job.save'],
    [Buffer.from('TENURE-PYTHON 1\n{}'), 'has no description'],
    [Buffer.from('TENURE-PYTHON 1\n{\n'), 'is no JSON'],
    [Buffer.from('TENURE-PYTHON 1\n7\n'), 'is no JSON'],
    [fileOf({ python: '3.11; rm' }), 'does not name its version of Python'],
    [fileOf({ packages: { 'numpy --index-url x': '1' } }), 'does not list its packages'],
    [fileOf({ packages: { '-e': '.' } }), 'does not list its packages'],
    [fileOf({ packages: { numpy: '1 --hash' } }), 'does not list its packages'],
    [fileOf({ library: '' }), 'does not name its library'],
    [fileOf({ outputs: 0 }), 'how many numbers'],
    [fileOf({ columns: [] }), 'does not list 1 to 10000 columns'],
    [fileOf({ columns: [{}] }), 'column 0 of model.python has no name'],
  ]
  it.each(files)('%s', (file, why) => {
    expect(() => readPythonFile(file)).toThrow(why)
  })

  it('when a user brings it', () => {
    expect(() => fileNameOf(fileOf())).toThrow('code of Python with the packages of another training')
  })

  it('by a program that runs no Python', async () => {
    await expect(open({ 'model.python': fileOf() })).rejects.toThrow('code of Python, which is not run here')
  })

  it('by a reader that computes within the call', () => {
    const description = { artifact: 'python-object', output: { kind: 'number' }, preprocessing: [] } as const
    expect(() => formatOf(description).open(description, { 'model.python': fileOf() })).toThrow(
      'answers in a process of its own',
    )
  })

  it('with other columns than the manifest', async () => {
    const size = { name: 'size', kind: 'number', mean: 0, std: 1, fill: null } as const
    const description = {
      artifact: 'python-object',
      output: { kind: 'number' },
      preprocessing: [size, size],
    } as const
    const deps = { version: 'v', runtimes: undefined as never }
    await expect(formatOf(description).open(description, { 'model.python': fileOf() }, deps)).rejects.toThrow(
      'the model takes colour, size, other columns than the manifest',
    )
  })
})
