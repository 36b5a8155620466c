/** Tests that a folder that MLflow has saved or logged is served with the answers of its object, for each flavour, by real Python processes. */
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createRuntimes } from '../../api/serving/runtime/hosts.ts'
import { checkout, programEnvironment } from '../../temporal.config.ts'
import { pythonOrReason } from './packages.ts'

const found = await pythonOrReason('mlflow-models.txt')
const flavours = [
  'sklearn',
  'skops',
  'lightgbm',
  'booster',
  'xgboost',
  'statsmodels',
  'pyfunc',
  'artifacts',
].flatMap((name) => [name, `${name}-logged`])

describe.skipIf('reason' in found)('a folder of MLflow', () => {
  const runtimes = createRuntimes({ onError: () => {}, loadMs: 60_000, runMs: 60_000 })
  let folder = ''
  let rows: number[][] = []
  let answers: Record<string, number[]> = {}
  const json = async (name: string): Promise<unknown> =>
    JSON.parse(await readFile(join(folder, name), 'utf8'))

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tenure-mlflow-'))
    const script = join(checkout, 'test', 'interop', 'mlflow', 'save_models.py')
    const env = programEnvironment({ PYTHONPATH: join(checkout, 'packages', 'python', 'src') })
    await promisify(execFile)((found as { python: string }).python, [script, folder], { cwd: folder, env })
    rows = (await json('rows.json')) as number[][]
    answers = (await json('answers.json')) as Record<string, number[]>
  })
  afterAll(async () => {
    await runtimes.stop()
    await rm(folder, { recursive: true })
  })

  it('is saved for each flavour', () => expect(Object.keys(answers)).toEqual(flavours))

  it.each(flavours)('of %s answers as its object', async (name) => {
    const bytes = await readFile(join(folder, name, 'output', 'model.python'))
    const [, head = ''] = bytes.toString('latin1').split('\n')
    const needs = JSON.parse(head) as { python: string; packages: Record<string, string> }
    const model = await runtimes.python.open(`${name}_v1.0.0`, { bytes, plan: {}, needs }, { inputs: 2 })
    const outputs = new Float32Array(rows.length)
    await model.run(Float64Array.from(rows.flat()), rows.length, outputs)
    model.close?.()
    outputs.forEach((output, row) => expect(output).toBeCloseTo(answers[name]![row]!, 6))
  })
})
