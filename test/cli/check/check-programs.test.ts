/** Tests that `tenure check` reads the rows of models that it does not train, and compiles their Python scripts. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { spawnSync } from 'node:child_process'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { CheckedModel, CheckedProject } from '../../../cli/check/check-project.ts'
import { exitCodes } from '../../../cli/exit-codes.ts'
import { initProject } from '../../../cli/init/init-project.ts'
import { checkout, environmentWith } from '../../../temporal.config.ts'

let folder: string
let text: string
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tenure-check-programs-'))
  await initProject({ folder, overwrite: false, choose: (_, inferred) => Promise.resolve(inferred) })
  text = readFileSync(join(folder, 'models', 'iris.ts'), 'utf8')
  rmSync(join(folder, 'models', 'iris.ts'))
  write('train.py', 'import no_such_package\n')
  write('broken.py', 'import sys\nif True\n    pass\n')
  write('requirements.txt', 'tenure-no-such-package==999\n')
})
afterAll(() => rmSync(folder, { recursive: true }))

const write = (file: string, content: string) => writeFileSync(join(folder, 'models', file), content)

/** Writes a model whose rows are those of the flowers; without `train`, its versions are brought. */
function writeModel(name: string, train?: string, change = (model: string) => model): void {
  const trainedBy = train === undefined ? '' : `  train: ${train},\n`
  const model = text
    .replace(/ {2}train: async[\s\S]*?\n {2}\},\n/, trainedBy)
    .replace("name: 'iris'", `name: '${name}'`)
    .replace('import { ', 'import { command, python, queue, ')
  write(`${name}.ts`, change(model))
}

/** Checks the models that were written since the last call, and deletes them. */
function check(names: readonly string[]): { code: number | null; models: Record<string, CheckedModel> } {
  const args = [join(checkout, 'cli', 'tenure.mjs'), 'check', '--json']
  const { status, stdout } = spawnSync(process.execPath, args, { cwd: folder, encoding: 'utf8' })
  for (const name of names) rmSync(join(folder, 'models', `${name}.ts`))
  const { models } = JSON.parse(stdout) as CheckedProject
  return { code: status, models: Object.fromEntries(models.map((model) => [model.name, model])) }
}

it('reads the rows of models that it does not train, and says what it left out', () => {
  writeModel('brought')
  writeModel('by-command', "command(['Rscript', 'train.R'], { files: [] })")
  writeModel('by-python', "python('train.py', { requirements: 'requirements.txt' })")
  writeModel('by-queue', "queue('gpu')")
  writeModel('without-python', "python('train.py', { interpreter: 'python0.1' })")
  const { code, models } = check(['brought', 'by-command', 'by-python', 'by-queue', 'without-python'])
  const skipped = (text: string) => ({ issues: [], trained: false, read: 150, skipped: text })
  expect(models).toMatchObject({
    brought: skipped('its versions are brought'),
    'by-command': skipped('a program trains it'),
    'by-python': skipped('train.py compiles; the first training runs it and installs requirements.txt'),
    'by-queue': skipped('workers of the task queue gpu train it'),
    'without-python': skipped(
      'train.py is not compiled, as there is no python0.1 on this machine; the first training runs it',
    ),
  })
  expect(code).toBe(exitCodes.done)
})

it('names a script whose refit would look for validation rows, and none that trains for the rounds of the judged model', () => {
  const [, source] = /source: csv\('([^']+)'\)/.exec(text)!
  const [head, ...rows] = readFileSync(join(folder, source!), 'utf8').trim().split('\n')
  const dated = rows.map((row, n) => `${row},${new Date(Date.UTC(2026, 0, n + 1)).toISOString()}`)
  writeFileSync(join(folder, 'dated.csv'), [`${head},at`, ...dated].join('\n'))
  const byTime = (refit: 'matured' | 'off') => (model: string) =>
    model
      .replace(/source: csv\(.*\)/, "source: csv('dated.csv', { eventTime: 'at', key: ['at'] })")
      .replace(/split: .*/, "split: byTime({ train: '80 d', validation: '10 d', test: '30 d' }),")
      .replace(/^ {2}release,$/m, `release: { ...release, spec: { ...release.spec, refit: '${refit}' } },`)
      .replace('import { ', 'import { byTime, ')
  write('stops.py', 'held = job.validation()\n')
  write('frozen.py', 'rounds = job.best_round or 9\nheld = job.validation()\n')
  writeModel('stops', "python('stops.py')", byTime('matured'))
  writeModel('off', "python('stops.py')", byTime('off'))
  writeModel('frozen', "python('frozen.py')", byTime('matured'))
  const { models } = check(['stops', 'off', 'frozen'])
  const skipped = Object.values(models).map(({ name, issues, skipped: why }) => [name, issues, why])
  const runs = 'py compiles; the first training runs it'
  expect(skipped).toEqual([
    ['frozen', [], `frozen.${runs}`],
    ['off', [], `stops.${runs}`],
    [
      'stops',
      [],
      `stops.${runs}; it calls job.validation() and not job.best_round: a refit has no validation rows, so train for job.best_round rounds where it is set`,
    ],
  ])
})

it('passes the test that `tenure init` wrote, with models that it trains and others', () => {
  writeModel('brought')
  writeFileSync(join(folder, 'models', 'iris.ts'), text)
  const bin = join(folder, 'bin')
  mkdirSync(bin)
  const program = join(checkout, 'cli', 'tenure.mjs')
  // The package is not installed in the folder.
  writeFileSync(join(bin, 'npx'), `#!/bin/sh\nshift\nexec "${process.execPath}" "${program}" "$@"\n`, {
    mode: 0o755,
  })
  const run = () =>
    spawnSync(process.execPath, ['--test', 'test/models.test.mjs'], {
      cwd: folder,
      encoding: 'utf8',
      env: environmentWith({ PATH: `${bin}:${environmentWith({})['PATH']}`, NODE_TEST_CONTEXT: undefined }),
    })
  const passed = run()
  expect(passed.status, passed.stdout).toBe(0)
  writeFileSync(join(folder, 'models', 'iris.ts'), text.replace('sepalLength: number', 'sepalLenght: number'))
  expect(run().status).toBe(1)
  for (const name of ['brought', 'iris']) rmSync(join(folder, 'models', `${name}.ts`))
})

it('finds rows that cannot be read and scripts that do not compile, whatever trains the model', () => {
  writeModel('bad-column', "queue('gpu')", (model) =>
    model.replace('sepalLength: number', 'sepalLenght: number'),
  )
  writeModel('bad-sql', "command(['true'], { files: [] })", (model) =>
    model.replace(/(source: csv\('[^']*')[^\n]*/, "$1, { rows: 'selec * from source' }),"),
  )
  writeModel('no-csv', undefined, (model) => model.replaceAll('iris.csv', 'flowers.csv'))
  writeModel('no-script', "python('trian.py')")
  writeModel('bad-script', "python('broken.py')")
  writeModel('bad-serve', "python('train.py'), serve: python('broken.py')")
  const { code, models } = check(['bad-column', 'bad-sql', 'no-csv', 'no-script', 'bad-script', 'bad-serve'])
  const issue = (text: RegExp) => ({ issues: [expect.stringMatching(text) as string], trained: false })
  expect(models).toMatchObject({
    'bad-column': issue(/sepalLenght/),
    'bad-sql': issue(/the SQL of the source has a syntax error/),
    'no-csv': issue(/flowers\.csv/),
    'no-script': issue(/trian\.py/),
    'bad-serve': issue(/serve: broken\.py:2: expected ':'/),
    'bad-script': issue(/broken\.py:2: expected ':'/),
  })
  expect(code).toBe(exitCodes.otherwise)
})
