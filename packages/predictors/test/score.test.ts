/** Tests the answers that `tools/score.ts` prints. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { model, graph, node } from './support/onnx-writer.ts'
import { readRosesModel } from './support/roses-lightgbm.ts'

const program = fileURLToPath(new URL('../tools/score.ts', import.meta.url))

it('answers that are not finite are printed as rows hold them, not as missing', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tenure-score-'))
  try {
    const [artifact, rows] = [join(folder, 'model.onnx'), join(folder, 'rows.json')]
    writeFileSync(artifact, model(graph({ nodes: [node({ op: 'Log', inputs: ['x'], outputs: ['y'] })] })))
    writeFileSync(rows, '[[0], [1], ["inf"], [-1]]')
    const options = ['--import', 'tsx', program, '--artifact', artifact, '--rows', rows]
    expect(execFileSync(process.execPath, options, { encoding: 'utf8' })).toBe('"-inf"\n0\n"inf"\n"nan"\n')
  } finally {
    rmSync(folder, { recursive: true })
  }
})

it('a reader that closes its pipe ends the answers without an error', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tenure-score-'))
  try {
    const [artifact, rows] = [join(folder, 'model.onnx'), join(folder, 'rows.json')]
    writeFileSync(artifact, model(graph({ nodes: [node({ op: 'Log', inputs: ['x'], outputs: ['y'] })] })))
    writeFileSync(rows, JSON.stringify(Array.from({ length: 20_000 }, (_each, at) => [at + 1])))
    const score = `'${process.execPath}' --import tsx '${program}' --artifact '${artifact}' --rows '${rows}'`
    const { stdout, stderr } = spawnSync('sh', ['-c', `${score} | head -1`], { encoding: 'utf8' })
    expect({ stdout, stderr }).toEqual({ stdout: '0\n', stderr: '' })
  } finally {
    rmSync(folder, { recursive: true })
  }
})

it('rows that cannot be answered are refused with their number and what to write', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tenure-score-'))
  try {
    const [artifact, rows, pipe] = ['model.onnx', 'rows.json', 'pipe'].map((name) => join(folder, name))
    writeFileSync(artifact!, model(graph({ nodes: [node({ op: 'Log', inputs: ['x'], outputs: ['y'] })] })))
    execFileSync('mkfifo', [pipe!])
    const refusalOf = (text: string, from = rows!) => {
      writeFileSync(rows!, text)
      const options = ['--import', 'tsx', program, '--artifact', artifact!, '--rows', from]
      return spawnSync(process.execPath, options, { encoding: 'utf8', timeout: 60_000 }).stderr
    }
    expect(refusalOf('[[NaN]]')).toContain('null for a missing value and "inf" for an infinite one')
    expect(refusalOf('[{"x": 1}, {"X": 2}]')).toContain('row 1: the model has no column "X"; it has x')
    expect(refusalOf('[{"x": 1, "x": 2}]')).toContain('has the key "x" twice in one object')
    expect(refusalOf('[]', pipe)).toContain('pipe is not a regular file')
    expect(refusalOf('[]', join(folder, 'rows'))).toBe(`there is no file ${join(folder, 'rows')}\n`)
    // A sparse file of 4 GiB is refused before it is read.
    truncateSync(artifact!, 2 ** 32)
    expect(refusalOf('[]')).toMatch(/^model\.onnx has 4294967296 bytes, more than \d+\n$/)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

it('a column that a row lacks is missing, also one with the name of something that every object has', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tenure-score-'))
  try {
    const [artifact, rows] = [join(folder, 'model.txt'), join(folder, 'rows.json')]
    const { model: roses } = readRosesModel()
    writeFileSync(
      artifact,
      roses.replace('feature_names=size colour age', 'feature_names=constructor colour age'),
    )
    writeFileSync(rows, '[{"colour": "red", "age": 3}, [null, "red", 3]]')
    const options = ['--import', 'tsx', program, '--artifact', artifact, '--rows', rows]
    const { stdout, stderr } = spawnSync(process.execPath, options, { encoding: 'utf8', timeout: 60_000 })
    const [byName, inOrder] = stdout.trim().split('\n')
    expect({ byName, stderr }).toEqual({ byName: inOrder, stderr: '' })
  } finally {
    rmSync(folder, { recursive: true })
  }
})

it('columns.json names the columns, lists their categories and fills missing numbers', () => {
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
    const score = (declared: readonly unknown[], row: unknown) => {
      writeFileSync(rows!, JSON.stringify([row]))
      writeFileSync(columns!, JSON.stringify(declared))
      const given = ['--artifact', artifact!, '--rows', rows!, '--columns', columns!]
      const options = ['--import', 'tsx', program, ...given]
      return spawnSync(process.execPath, options, { encoding: 'utf8', timeout: 60_000 })
    }
    const colour = { name: 'colour', vocabulary: ['red', 'white'] }
    const { size, colour: paint, age } = features[0]!
    const row = { size, colour: paint, age }
    expect(Number(score(['size', colour, 'age'], row).stdout)).toBeCloseTo(answers[0]!, 6)
    const filled = score([{ name: 'size', fill: Number(size) }, colour, 'age'], { ...row, size: null })
    expect(Number(filled.stdout)).toBeCloseTo(answers[0]!, 6)
    expect(score(['size', 'colour', 'age'], row).stderr).toContain(
      `row 0: ${JSON.stringify(paint)} is not a number for "colour": the file holds no categories of this column; if it is a category, list them as the "vocabulary" of a declared column`,
    )
    expect(score(['size', colour], row).stderr).toContain('columns.json names 2 columns, the file has 3')
  } finally {
    rmSync(folder, { recursive: true })
  }
})

it('columns of one name are refused, and columns.json may name them apart', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tenure-score-'))
  try {
    const [artifact, rows, columns] = ['model.txt', 'rows.json', 'columns.json'].map((name) =>
      join(folder, name),
    )
    const { model: roses, rows: features, answers } = readRosesModel()
    writeFileSync(artifact!, roses.replace('feature_names=size colour age', 'feature_names=size colour size'))
    const { size, colour, age } = features[0]!
    const score = (row: unknown, declared?: readonly string[]) => {
      writeFileSync(rows!, JSON.stringify([row]))
      if (declared !== undefined) writeFileSync(columns!, JSON.stringify(declared))
      const given = declared === undefined ? [] : ['--columns', columns!]
      const options = [program, '--artifact', artifact!, '--rows', rows!, ...given]
      return spawnSync(process.execPath, ['--import', 'tsx', ...options], {
        encoding: 'utf8',
        timeout: 60_000,
      })
    }
    const refused = {
      stdout: '',
      stderr:
        'two columns have the name "size": give each column a name of its own in columns.json, in the order of the file\n',
    }
    expect(score({ size, colour })).toMatchObject(refused)
    expect(score({ size, colour }, ['size', 'colour', 'size'])).toMatchObject(refused)
    const { stdout, stderr } = score({ size, colour, age }, ['size', 'colour', 'age'])
    expect(stderr).toBe('')
    expect(Number(stdout)).toBeCloseTo(answers[0]!, 6)
  } finally {
    rmSync(folder, { recursive: true })
  }
})
