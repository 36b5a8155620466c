import { mkdir, mkdtemp, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openAttempt, removeAttempts } from '../../../activities/trainers/attempt-folder.ts'
import { readResultFolder } from '../../../activities/trainers/result-folder.ts'

let root: string
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'tenure-result-'))
})
afterAll(() => rm(root, { recursive: true }))

const rows = (row: unknown) => Array.from({ length: 200 }, () => row)
const complete = {
  'model.txt': 'tree',
  'columns.json': [{ name: 'colour', vocabulary: ['inf', 'red'] }, { name: 'size' }],
  'replay.json': { columns: ['size', 'colour'], rows: rows([1.5, 'red']), outputs: rows([0.5]) },
  'curve.json': [{ epoch: 1, epochs: 1, loss: 0.5 }],
  'rounds.json': 37,
  'environment.json': { python: '3.11.7', odd: 1 },
}

/** Reads a folder with these files. */
async function read(files: Record<string, unknown>) {
  const folder = await mkdtemp(join(root, 'output-'))
  for (const [name, content] of Object.entries(files))
    if (content !== undefined)
      await writeFile(join(folder, name), typeof content === 'string' ? content : JSON.stringify(content))
  return readResultFolder(folder)
}

describe('the result of a training program', () => {
  it('is read with its columns, its answers, its curve and its packages', async () => {
    const result = await read(complete)
    expect(result).toMatchObject({
      artifact: { name: 'model.txt' },
      columns: complete['columns.json'],
      curve: [{ epoch: 1, loss: 0.5 }],
      rounds: 37,
      environment: { python: '3.11.7' },
    })
    expect(result.replay.rows[0]).toEqual({ size: 1.5, colour: 'red' })
    expect(result.environment).not.toHaveProperty('odd')
  })

  it('may name numbers that JSON lacks, and a category of the same text', async () => {
    const { replay } = await read({
      ...complete,
      'replay.json': { columns: ['size', 'colour'], rows: rows(['-inf', 'inf']), outputs: rows(1) },
    })
    expect(replay.rows[0]).toEqual({ size: -Infinity, colour: 'inf' })
    expect(replay.outputs[0]).toEqual([1])
  })

  it('leaves epochs with a non-finite loss out of the curve, and notes it', async () => {
    const { curve, notes } = await read({
      ...complete,
      'curve.json':
        '[{"epoch": 1, "loss": 0.5, "note": "NaN"}, {"epoch": 2, "loss": NaN}, {"epoch": 3, "loss": -Infinity}, {"epoch": 4, "loss": 0.2, "validationLoss": NaN}, {"epoch": 5}]',
    })
    expect(curve).toEqual([
      { epoch: 1, loss: 0.5 },
      { epoch: 4, loss: 0.2 },
    ])
    expect(notes).toEqual([
      'curve.json: 2 of 5 epochs have a loss that is not a finite number and are left out',
    ])
    expect((await read(complete)).notes).toEqual([])
  })

  it('may have a text of many megabytes in its curve', async () => {
    const note = `"NaN": ${'a'.repeat(12_000_000)}`
    const { curve } = await read({ ...complete, 'curve.json': [{ epoch: 1, loss: 1, note }] })
    expect(curve).toEqual([{ epoch: 1, loss: 1 }])
  })

  it('keeps a thousand epochs of a longer curve, with the last one', async () => {
    const curve = Array.from({ length: 2_500 }, (_, index) => ({ epoch: index + 1, loss: 1 }))
    const result = await read({ ...complete, 'curve.json': [...curve, { epoch: 2_501 }] })
    expect(result.curve.length).toBeLessThanOrEqual(1_000)
    expect(result.curve.length).toBeGreaterThan(800)
  })

  it.each([
    [
      'no artifact',
      { 'model.txt': undefined, 'model.pkl': 'x' },
      /has no artifact: one of model\.txt, .* not columns\.json/,
    ],
    [
      'two artifacts',
      { 'model.onnx': 'x' },
      /has several artifacts, model\.txt, model\.onnx: one is required/,
    ],
    ['no answers', { 'replay.json': undefined }, /has no replay\.json/],
    [
      'numbers that JSON has not',
      { 'replay.json': '{"rows": [[NaN, "red"]], "outputs": [1]}' },
      /has a replay\.json that is not valid JSON: .*; NaN and Infinity are no JSON: write null, and "inf"/,
    ],
    [
      'a curve cut off in a text with many quotes',
      { 'curve.json': String.raw`[{"note": "${String.raw`\"`.repeat(500_000)}` },
      /has a curve\.json that is not valid JSON/,
    ],
    ['half a round', { 'rounds.json': 0.5 }, /has a rounds\.json that is no whole number from 1/],
    ['answers cut off', { 'replay.json': '{"rows": [' }, /has a replay\.json that is not valid JSON/],
    ['few answers', { 'replay.json': { rows: [[1, 'red']], outputs: [1] } }, /with 1 rows, fewer than 200/],
    ['answers of another length', { 'replay.json': { rows: [], outputs: [1] } }, /of one length/],
    [
      'rows of another width',
      { 'replay.json': { rows: rows([1]), outputs: rows(1) } },
      /row 0 has 1 values, expected 2/,
    ],
    [
      'an answer that is not a number',
      { 'replay.json': { rows: rows([1, 'a']), outputs: rows([null]) } },
      /output 0 is not a finite number/,
    ],
    [
      'a cell that is a list',
      { 'replay.json': { rows: rows([[], 'a']), outputs: rows(1) } },
      /row 0 has no value for colour/,
    ],
  ])('is refused with %s', async (_what, change, message) => {
    await expect(read({ ...complete, ...change })).rejects.toMatchObject({
      code: 'training_failed',
      message: expect.stringMatching(message),
    })
  })

  it.each([
    ['columns that are no list', {}, 'columns.json is not a list of 1 to 10000 columns'],
    ['a column without a name', [{ vocabulary: [] }], 'column 0 of columns.json has no "name"'],
    ['a vocabulary of lists', [{ name: 'a', vocabulary: [[]] }], /^"vocabulary" of column 0/],
  ])('is refused with %s', async (_what, columns, message) => {
    await expect(read({ ...complete, 'columns.json': columns })).rejects.toMatchObject({
      code: 'artifact_invalid',
      message: typeof message === 'string' ? message : expect.stringMatching(message),
    })
  })

  it('is refused with a link, a folder or a file beyond its limit in place of a file', async () => {
    const refuse = async (make: (folder: string) => Promise<unknown>, message: RegExp) => {
      const folder = await mkdtemp(join(root, 'output-'))
      await make(folder)
      await expect(readResultFolder(folder)).rejects.toMatchObject({
        code: 'training_failed',
        message: expect.stringMatching(message),
      })
    }
    await refuse(
      (folder) => symlink('/etc/passwd', join(folder, 'model.txt')),
      /has "model\.txt", which is no plain file/,
    )
    await refuse((folder) => mkdir(join(folder, 'model.txt')), /has no artifact/)
    await refuse(async (folder) => {
      await writeFile(join(folder, 'model.onnx'), '')
      await truncate(join(folder, 'model.onnx'), 65 * 1_048_576)
    }, /has a model\.onnx of 68157440 bytes, more than 64 MiB/)
    await refuse(async (folder) => {
      await writeFile(join(folder, 'model.txt'), 'tree')
      await writeFile(join(folder, 'columns.json'), '')
      await truncate(join(folder, 'columns.json'), 20 * 1_048_576)
    }, /has a columns\.json of 20971520 bytes, more than 16 MiB/)
  })
})

describe('the folders of an attempt', () => {
  const open = (attempt: number, of = 'a') => openAttempt(root, { trainingId: 'trn_1', attempt, of })
  const written = async (folder: string, name: string) => writeFile(join(folder, name), name)
  const has = (folder: string, name: string) =>
    import('node:fs').then(({ existsSync }) => existsSync(join(folder, name)))

  it('begin with the checkpoints of the last attempt at the same, and end those before', async () => {
    const first = await open(1)
    await written(first.checkpoints, 'epoch-1')
    await written(first.output, 'model.txt')
    const second = await open(2)
    expect(await has(second.checkpoints, 'epoch-1')).toBe(true)
    expect(await has(second.output, 'model.txt')).toBe(false)
    // A program that was believed dead continues to write, but reaches no other attempt.
    await expect(written(first.checkpoints, 'epoch-2')).rejects.toThrow('ENOENT')
    expect(await has((await open(2)).checkpoints, 'epoch-1')).toBe(false)
  })

  it('have no checkpoints of other code, data or packages', async () => {
    await written((await open(3)).checkpoints, 'epoch-1')
    expect(await has((await open(4, 'b')).checkpoints, 'epoch-1')).toBe(false)
    await removeAttempts(root, 'trn_1')
    expect(await has(join(root, 'drafts', 'trainings'), 'trn_1')).toBe(false)
  })
})
