/**
 * Compares predictions of model files with those of LightGBM, XGBoost, CatBoost and, for scikit-learn, ONNX Runtime: `npm run parity -w @tenure/predictors
 * -- [--rows 22000] [--rounds 40] [--seeds 1] [--only trees|onnx]`. The libraries train the models from seeds, in a virtual environment in the cache.
 * `--pack FILE` also writes the models for the tests.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { gzipSync } from 'node:zlib'
import { cacheOf } from '@tenure/embedded/install/machine'
import { compareAnswers, type ParityCase } from '../test/support/parity.ts'

const libraries = [
  'lightgbm==4.7.0',
  "xgboost==3.4.1; python_version >= '3.12'",
  // The newest for Python 3.11, which Debian 12 has.
  "xgboost==3.2.0; python_version < '3.12'",
  'catboost==1.2.10',
  'scikit-learn==1.9.1',
  'onnx==1.23.2',
  'skl2onnx==1.20.0',
  'onnxruntime==1.31.1',
  'cloudpickle==3.1.3',
]
const limit = 1e-6

const { values } = parseArgs({
  options: {
    rows: { type: 'string', default: '22000' },
    rounds: { type: 'string', default: '40' },
    seeds: { type: 'string', default: '1' },
    only: { type: 'string' },
    pack: { type: 'string' },
  },
})

/** Returns the Python of the virtual environment, which the first run creates. */
function preparePython(): string {
  const versions = libraries.map((each) => /==([\d.]+)/.exec(each)?.[1])
  const place = join(cacheOf(), `parity-${versions.join('-')}`)
  const python = join(place, 'bin', 'python')
  if (existsSync(join(place, 'done'))) return python
  process.stderr.write(`installing ${libraries.join(', ')} into ${place}\n`)
  execFileSync('python3', ['-m', 'venv', '--clear', place], { stdio: 'inherit' })
  execFileSync(python, ['-m', 'pip', 'install', '-q', ...libraries], { stdio: 'inherit' })
  writeFileSync(join(place, 'done'), '')
  return python
}

/** Trains the models of a script, and returns them with the answers of their libraries. */
function train(script: string, folder: string, options: string[]): ParityCase[] {
  const path = fileURLToPath(new URL(script, import.meta.url))
  execFileSync(preparePython(), [path, folder, ...options], { stdio: 'inherit' })
  const read = (file: string): string => readFileSync(join(folder, file), 'utf8')
  return (JSON.parse(read('index.json')) as { name: string; file: string }[]).map(({ name, file }) => ({
    name,
    bytes: readFileSync(join(folder, file)),
    rows: JSON.parse(read(`${name}.rows`)) as ParityCase['rows'],
    answers: JSON.parse(read(`${name}.answers`)) as ParityCase['answers'],
  }))
}

/** Compares models trained by their libraries. Returns false if one differs. */
function compareModels(folder: string): boolean {
  const { rows, rounds, seeds, only } = values
  const size = ['--rows', rows, '--rounds', rounds, '--seeds', seeds]
  const part = only === 'trees' || only === 'onnx' ? ['--only', only] : []
  // The tests need only one sample of each way to lower a model.
  const usual = values.pack === undefined ? [] : ['--usual']
  const cases: ParityCase[] = []
  cases.push(...train('models.py', join(folder, 'models'), [...size, ...part, ...usual]))
  if (values.pack !== undefined)
    writeFileSync(
      values.pack,
      gzipSync(JSON.stringify(cases.map((each) => ({ ...each, bytes: each.bytes.toString('base64') })))),
    )
  let [compared, failed] = [0, 0]
  // Only the tests run graphs in ONNX Runtime.
  const trees = cases.filter(({ name }) => !name.startsWith('session-'))
  for (const { name, ...model } of trees) {
    if (model.rows.length === 0) {
      process.stdout.write(`${name}: left out, its library answers no row with a number\n`)
      continue
    }
    const { rows: count, trees: own, worst, otherLeaves } = compareAnswers(model)
    compared += count
    const isRight = worst <= limit && otherLeaves === 0
    if (!isRight) failed++
    process.stdout.write(
      `${isRight ? 'same' : 'DIFFERS'} ${name}: ${count} rows, ${own} trees, largest difference ${worst.toExponential(1)}, ` +
        `${otherLeaves} other leaves\n`,
    )
  }
  process.stdout.write(`${trees.length} models, ${compared} rows, ${failed} models differ\n`)
  return failed === 0
}

const folder = mkdtempSync(join(tmpdir(), 'tenure-parity-'))
try {
  if (!compareModels(folder)) process.exitCode = 1
} finally {
  rmSync(folder, { recursive: true, force: true })
}
