/** Tests the answers that `tenure score` prints. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { scoreCommand } from '../../../../cli/commands/registry/score.ts'
import { exitCodes } from '../../../../cli/exit-codes.ts'
import { graph, model, node } from '../../../../packages/predictors/test/support/onnx-writer.ts'
import { readRosesModel } from '../../../../packages/predictors/test/support/roses-lightgbm.ts'
import { runCommand } from '../../../support/command-line.ts'

const score = (...files: readonly string[]) =>
  runCommand(
    [scoreCommand],
    ['score', ...files.flatMap((file, at) => [['--artifact', '--rows', '--columns'][at]!, file])],
  )

it('answers that are not finite are printed as rows hold them, not as missing', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tenure-score-'))
  try {
    const [artifact, rows] = [join(folder, 'model.onnx'), join(folder, 'rows.json')]
    writeFileSync(artifact, model(graph({ nodes: [node({ op: 'Log', inputs: ['x'], outputs: ['y'] })] })))
    writeFileSync(rows, '[[0], [1], ["inf"], [-1]]')
    expect(await score(artifact, rows)).toEqual({
      code: exitCodes.done,
      out: '"-inf"\n0\n"inf"\n"nan"\n',
      err: '',
    })
  } finally {
    rmSync(folder, { recursive: true })
  }
})

it('rows that cannot be answered are refused with their number and what to write', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tenure-score-'))
  try {
    const [artifact, rows, pipe] = ['model.onnx', 'rows.json', 'pipe'].map((name) => join(folder, name))
    writeFileSync(artifact!, model(graph({ nodes: [node({ op: 'Log', inputs: ['x'], outputs: ['y'] })] })))
    execFileSync('mkfifo', [pipe!])
    const refusalOf = async (text: string, from = rows!) => {
      writeFileSync(rows!, text)
      return (await score(artifact!, from)).err
    }
    expect(await refusalOf('[[NaN]]')).toContain('null for a missing value and "inf" for an infinite one')
    expect(await refusalOf('[{"x": 1}, {"X": 2}]')).toContain('row 1: the model has no column "X"; it has x')
    expect(await refusalOf('[{"x": 1, "x": 2}]')).toContain('has the key "x" twice in one object')
    expect(await refusalOf('[]', pipe)).toContain('pipe is not a regular file')
    expect(await refusalOf('[]', join(folder, 'rows'))).toContain(`there is no file ${join(folder, 'rows')}`)
    // A sparse file of 4 GiB is refused before it is read.
    truncateSync(artifact!, 2 ** 32)
    expect(await refusalOf('[]')).toMatch(/model\.onnx has 4294967296 bytes, more than \d+/)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

it('a column that a row lacks is missing, also one with the name of something that every object has', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tenure-score-'))
  try {
    const [artifact, rows] = [join(folder, 'model.txt'), join(folder, 'rows.json')]
    const { model: roses } = readRosesModel()
    writeFileSync(
      artifact,
      roses.replace('feature_names=size colour age', 'feature_names=constructor colour age'),
    )
    writeFileSync(rows, '[{"colour": "red", "age": 3}, [null, "red", 3]]')
    const { out, err } = await score(artifact, rows)
    const [byName, inOrder] = out.trim().split('\n')
    expect({ byName, err }).toEqual({ byName: inOrder, err: '' })
  } finally {
    rmSync(folder, { recursive: true })
  }
})

it('columns.json names the columns, lists their categories and fills missing numbers', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tenure-score-'))
  try {
    const [artifact, rows, columns] = ['model.txt', 'rows.json', 'columns.json'].map((name) =>
      join(folder, name),
    )
    const { model: roses, rows: features, answers } = readRosesModel()
    const unnamed = roses
      .replace('feature_names=size colour age', 'feature_names=Column_0 Column_1 Column_2')
      .replace(/pandas_categorical:.*/, 'pandas_categorical:null')
    writeFileSync(artifact!, unnamed)
    const scoreRow = (declared: readonly unknown[], row: unknown) => {
      writeFileSync(rows!, JSON.stringify([row]))
      writeFileSync(columns!, JSON.stringify(declared))
      return score(artifact!, rows!, columns!)
    }
    const colour = { name: 'colour', vocabulary: ['red', 'white'] }
    const { size, colour: paint, age } = features[0]!
    const row = { size, colour: paint, age }
    expect(Number((await scoreRow(['size', colour, 'age'], row)).out)).toBeCloseTo(answers[0]!, 6)
    const filled = await scoreRow([{ name: 'size', fill: Number(size) }, colour, 'age'], {
      ...row,
      size: null,
    })
    expect(Number(filled.out)).toBeCloseTo(answers[0]!, 6)
    expect((await scoreRow(['size', 'colour', 'age'], row)).err).toContain(
      `row 0: ${JSON.stringify(paint)} is not a number for "colour": the file holds no categories of this column; if it is a category, list them as the "vocabulary" of a declared column`,
    )
    expect((await scoreRow(['size', colour], row)).err).toContain(
      'columns.json names 2 columns, the file has 3',
    )
  } finally {
    rmSync(folder, { recursive: true })
  }
})

it('columns of one name are refused, and columns.json may name them apart', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tenure-score-'))
  try {
    const [artifact, rows, columns] = ['model.txt', 'rows.json', 'columns.json'].map((name) =>
      join(folder, name),
    )
    const { model: roses, rows: features, answers } = readRosesModel()
    writeFileSync(artifact!, roses.replace('feature_names=size colour age', 'feature_names=size colour size'))
    const { size, colour, age } = features[0]!
    const scoreRow = (row: unknown, declared?: readonly string[]) => {
      writeFileSync(rows!, JSON.stringify([row]))
      if (declared !== undefined) writeFileSync(columns!, JSON.stringify(declared))
      return score(artifact!, rows!, ...(declared === undefined ? [] : [columns!]))
    }
    const refused = {
      out: '',
      err: expect.stringContaining(
        'two columns have the name "size": give each column a name of its own in columns.json, in the order of the file',
      ) as unknown,
    }
    expect(await scoreRow({ size, colour })).toMatchObject(refused)
    expect(await scoreRow({ size, colour }, ['size', 'colour', 'size'])).toMatchObject(refused)
    const { out, err } = await scoreRow({ size, colour, age }, ['size', 'colour', 'age'])
    expect(err).toBe('')
    expect(Number(out)).toBeCloseTo(answers[0]!, 6)
  } finally {
    rmSync(folder, { recursive: true })
  }
})
