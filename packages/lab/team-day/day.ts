/**
 * Does what a team does on its first day, by the commands of the documentation: three tables become three served models, from empty folders and in
 * Python alone; then requests, late outcomes, the log, a rollback's evidence and a second laptop. Measures each step and writes
 * packages/lab/team-day/team-day.md. `npm run bench -- team-day [--out FILE]`. Packages for Python come from the registry.
 */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { figureTable, machine } from '../../../test/support/figures.ts'
import { checkout, environmentWith } from '../../../temporal.config.ts'
import { readOptions, reportFile } from '../harness/options.ts'

const options = readOptions({ out: reportFile('team-day/team-day.md') })
const here = (name: string) => fileURLToPath(new URL(name, import.meta.url))
const place = mkdtempSync(join(tmpdir(), 'tenure-team-day-'))
const server = join(place, 'server')
const laptop = join(place, 'laptop')

interface Done {
  of: string
  command: string
  seconds: number
  shown: string
}
const done: Done[] = []
const variables: Record<string, string> = {}

/** Runs a command in a shell and notes how long it took. Throws its output when it fails. */
async function type(
  of: string,
  command: string,
  more: { cwd?: string; env?: Record<string, string> } = {},
): Promise<string> {
  const startMs = performance.now()
  const child = spawn('bash', ['-c', command], {
    cwd: more.cwd ?? server,
    env: { ...environmentWith({}), ...variables, ...more.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const parts: Buffer[] = []
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (part: Buffer) => parts.push(part))
  const [code] = (await once(child, 'close')) as [number]
  const shown = Buffer.concat(parts).toString()
  const seconds = (performance.now() - startMs) / 1_000
  console.log(`${of} | ${command} | ${seconds.toFixed(1)} s`)
  if (code !== 0) throw new Error(`${command}: ${shown}`)
  done.push({ of, command, seconds, shown })
  return shown
}

/** Replaces lines of a model file, as a person does in an editor. */
function edit(file: string, replacements: Record<string, string>): void {
  let text = readFileSync(file, 'utf8')
  for (const [from, to] of Object.entries(replacements)) {
    if (!text.includes(from)) throw new Error(`${file} lacks ${from}`)
    text = text.replace(from, () => to)
  }
  writeFileSync(file, text)
}

const keyOf = async (command: string): Promise<string> =>
  (JSON.parse(await type('keys', `npx tenure keys create ${command} --json`)) as { key: string }).key

for (const folder of [server, laptop]) mkdirSync(folder)
let system: ReturnType<typeof spawn> | undefined
try {
  const packed = execFileSync('npm', ['run', '--silent', 'pack'], { cwd: checkout, encoding: 'utf8' }).trim()
  const file = packed.split('\n').at(-1)!
  for (const folder of [server, laptop]) copyFileSync(join(checkout, file), join(folder, basename(file)))
  const python = join(place, 'python', 'bin', 'python')
  execFileSync('python3', ['-m', 'venv', join(place, 'python')])
  execFileSync(python, ['-m', 'pip', 'install', '--quiet', 'pandas==3.1.1', 'numpy==2.4.6'])
  execFileSync(python, [here('tables.py'), server])

  await type('install', 'npm install --no-audit --no-fund ./tenure-*.tgz')
  const asOf: Record<string, string> = {}
  for (const model of ['churn', 'demand', 'fraud']) {
    const told = await type(model, `npx tenure init --python --from ${model}.csv --yes`)
    asOf[model] = /--as-of (\S+)/.exec(told)![1]!
  }
  editModels()
  await type('install', 'npm install --no-audit --no-fund')
  await type('install', 'npx tenure setup')
  await type('install', 'npx tenure check')
  const log = openSync(join(place, 'up.log'), 'w')
  const startMs = performance.now()
  // `npx` would keep a signal from it.
  system = spawn(process.execPath, ['node_modules/tenure/tenure.mjs', 'up'], {
    cwd: server,
    env: environmentWith({}),
    stdio: ['ignore', log, log],
  })
  while (!readFileSync(join(place, 'up.log'), 'utf8').includes('Ctrl-C stops everything')) {
    if (system.exitCode !== null) throw new Error(readFileSync(join(place, 'up.log'), 'utf8'))
    await pause(200)
  }
  done.push({
    of: 'install',
    command: 'npx tenure up',
    seconds: (performance.now() - startMs) / 1_000,
    shown: '',
  })
  const { url } = JSON.parse(await type('keys', 'npx tenure status --json')) as { url: string }
  const approver = await keyOf('ada --role approver')
  const developer = await keyOf('leo --role developer --models churn')
  const admin = await keyOf('service --role admin')
  for (const model of ['churn', 'demand', 'fraud']) {
    await type(model, `npx tenure retrain ${model} --as-of ${asOf[model]} --watch`)
    await type(model, `npx tenure approve ${model} --reason "better than guessing"`, {
      env: { TENURE_KEY: approver },
    })
    await until(model, 'promoted')
  }
  await type(
    'service',
    `${python} -m pip install --quiet --no-index --find-links ${url}/v1/clients/python tenure`,
  )
  await type('service', `${python} ${here('service.py')} ${server}`, {
    env: { TENURE_URL: url, TENURE_KEY: admin },
  })
  await type('log', 'npx tenure predictions fraud --reference P7')
  const { predictions } = JSON.parse(
    await type('log', 'npx tenure predictions fraud --reference P7 --json'),
  ) as {
    predictions: { id: string }[]
  }
  await type('log', `npx tenure predictions show ${predictions[0]!.id} --explain`)
  await type('log', 'npx tenure predictions export churn --output churn-log.parquet')
  await type('log', 'npx tenure models show fraud')

  // The second laptop has the files from git and no address of Postgres.
  await type('second laptop', 'npm install --no-audit --no-fund ./tenure-*.tgz', { cwd: laptop })
  for (const name of ['models', 'tenure.config.json'])
    cpSync(join(server, name), join(laptop, name), { recursive: true })
  await type('second laptop', 'npx tenure setup', { cwd: laptop })
  const remote = { cwd: laptop, env: { TENURE_URL: url, TENURE_KEY: developer } }
  edit(join(laptop, 'models', 'churn.py'), { '"floors": {"auc": 0.55}': '"floors": {"auc": 0.6}' })
  await type('second laptop', 'npx tenure models sync churn', remote)
  edit(join(laptop, 'models', 'churn.py'), { '"leaves": 15': '"leaves": 7' })
  const sent = await type('second laptop', 'npx tenure models sync churn', remote)
  const digest = /sha256:[0-9a-f]+/.exec(sent)![0]
  await type('second laptop', `npx tenure models approve churn ${digest}`, {
    cwd: laptop,
    env: { TENURE_URL: url, TENURE_KEY: approver },
  })
  await type('second laptop', `npx tenure retrain churn --as-of ${asOf.churn} --watch || test $? = 4`)
  await type('second laptop', 'npx tenure retrainings churn')
  writeFileSync(options.out, page())
} finally {
  if (system?.exitCode === null) {
    system.kill('SIGINT')
    await once(system, 'exit')
  }
  rmSync(place, { recursive: true })
}

/** What a person changes in the files that `tenure init` wrote. */
function editModels(): void {
  const file = (model: string) => join(server, 'models', `${model}.py`)
  edit(file('churn'), {
    '        "Final_Bill": number(column="Final Bill", missing="fill"),\n': '',
    '        "Cancel_Reason": category(values=["moved", "price"], column="Cancel Reason", missing="fill"),\n':
      '',
  })
  edit(file('demand'), {
    'python, quantity,': 'python, quantiles,',
    'label=quantity(column="Absatz")': 'label=quantiles([0.1, 0.5, 0.9], column="Absatz", min=0, clip=True)',
    'event_time="Datum_time",': 'event_time="Datum_time",\n        key=["Datum_time", "Artikel", "Filiale"],',
    'by_time(train="375 d", test="125 d")': 'by_time(train="444 d", test="56 d")',
    '"floors": {"rmse": 4.23},': '"floors": {"pinball": 1},',
    '"objective": "regression"': '"objective": "quantile"',
    '    report = lambda env: job.progress(env.iteration + 1, rounds)\n':
      '    data = lgb.Dataset(X, y, free_raw_data=False)\n',
    'job.save_lightgbm(lgb.train(parameters, lgb.Dataset(X, y), rounds, callbacks=[report]))':
      'job.save_lightgbm([lgb.train({**parameters, "alpha": level}, data, rounds) for level in job.levels])',
  })
  edit(file('fraud'), {
    'canary, complete': 'canary, category, complete',
    '"mcc": number()': '"mcc": category([str(code) for code in range(4800, 4830)])',
    '"mcc", "amount"': '"mcc"::varchar as "mcc", "amount"',
    '"rounds": 100': '"rounds": 40',
    '"floors": {"auc": 0.55}':
      '"primary": "averagePrecision",\n        "floors": {"averagePrecision": 0.004}',
  })
}

async function until(model: string, stage: string): Promise<void> {
  const startMs = performance.now()
  for (;;) {
    const shown = execFileSync('npx', ['tenure', 'releases', model, '--json'], {
      cwd: server,
      encoding: 'utf8',
    })
    const [last] = (JSON.parse(shown) as { releases: { outcome?: string; stage: string }[] }).releases
    if (last?.outcome === stage) break
    if (last?.outcome !== undefined && last.outcome !== null) throw new Error(`${model}: ${last.outcome}`)
    await pause(200)
  }
  done.push({
    of: model,
    command: `(until ${stage})`,
    seconds: (performance.now() - startMs) / 1_000,
    shown: '',
  })
}

function page(): string {
  const names = [...new Set(done.map(({ of }) => of))].filter((of) => of !== 'keys')
  const minutes = (seconds: number) => (seconds / 60).toFixed(1)
  const total = done.reduce((sum, { seconds }) => sum + seconds, 0)
  const metricOf = (model: string) => {
    const told = done.find((each) => each.of === model && each.command.includes('--watch'))!.shown
    const row = told.split('\n').find((_, at, all) => all[at - 1]?.startsWith('metric'))!
    const [metric, , value, guessed] = row.split(/ {2,}/)
    return `${metric} ${value}, guessing ${guessed}`
  }
  return [
    "# A team's first day",
    '',
    `Made by \`npm run bench -- team-day\` on ${machine}.`,
    '',
    'Three tables become three models from empty folders: churn (60,000 rows, names with blanks and signs, two columns that leak), demand (300,000 rows,',
    'German dates, three quantiles) and fraud (300,000 payments, a quarter of a percent of them fraud, chargebacks 2 to 45 days late). The model files are in',
    'Python, as `tenure init --python` writes them and [day.ts](day.ts) edits them. Then a service asks and sends outcomes, the log is read, and a second laptop',
    'sends a setting and a change of code. The minutes are those of the commands; thinking and typing come on top. Packages of Tenure and of Python that',
    'the cache has are not downloaded again.',
    '',
    ...figureTable(
      'part | commands | minutes | gate',
      names.map((of) => {
        const own = done.filter((each) => each.of === of)
        return [
          of,
          String(own.length),
          minutes(own.reduce((sum, { seconds }) => sum + seconds, 0)),
          ['churn', 'demand', 'fraud'].includes(of) ? metricOf(of) : '',
        ]
      }),
    ),
    '',
    `All together ${minutes(total)} minutes.`,
    '',
    '## Each command',
    '',
    ...figureTable(
      'command | seconds',
      done.map(({ command, seconds }) => [
        `\`${command.replaceAll(place, '').replaceAll(here('.'), '').replaceAll('|', '\\|')}\``,
        seconds.toFixed(1),
      ]),
    ),
    '',
  ].join('\n')
}
