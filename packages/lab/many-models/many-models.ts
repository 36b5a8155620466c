/**
 * Starts a checkout with a thousand model files and measures how long `tenure up` and `tenure models sync` take; writes
 * packages/lab/many-models/many-models.md. `npm run bench -- many-models [--models 1000] [--out FILE]`
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { chmodSync, cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import { checkout, systemEnvironment } from '../../../temporal.config.ts'
import { figureTable, machine } from '../../../test/support/figures.ts'
import { readOptions, reportFile } from '../harness/options.ts'
import { watchTree, type TreeUsage } from '../../../test/support/servers/processes.ts'

const options = readOptions({ models: 1_000, out: reportFile('many-models/many-models.md') })
const count = options.models
const busyAtStart = loadOfMachine()
/** A system is settled when it has used less than `calmCores` for this time. */
const calmMs = 5_000
const calmCores = 0.3

interface Phase extends TreeUsage {
  name: string
  seconds: number
}

const root = mkdtempSync(join(tmpdir(), 'tenure-many-models-'))
// Postgres runs as another user when this one is root.
chmodSync(root, 0o711)
const environment = {
  ...systemEnvironment(),
  TENURE_STATE: join(root, 'state'),
  ...Object.fromEntries(
    ['TENURE_PORT', 'TENURE_POSTGRES_PORT', 'TENURE_TEMPORAL_PORT'].map((name) => [name, '0']),
  ),
}
const names = () => Array.from({ length: count - 2 }, (_, place) => `iris-${place + 1}`)
const fileOf = (name: string) => join(root, 'models', `${name}.ts`)
const textOf = (name: string) =>
  readFileSync(join(checkout, 'models', 'iris.ts'), 'utf8').replace("name: 'iris'", `name: '${name}'`)

const command = ['cli/tenure.mjs']
let up: ChildProcess | undefined
try {
  copyCheckout()
  execFileSync('node', ['cli/build/build.mjs'], { cwd: root, stdio: 'inherit' })
  console.log(`${count} models …`)
  const first = await start()
  const settled = await measured('up, until no work is left', first.usage, () => first.settled())
  const unchanged = await run('models sync, no file changed', ['models', 'sync'])
  changeAll()
  const changed = await run('models sync, the schedule of each changed', ['models', 'sync'])
  await stop()
  const second = await start()
  const phases = [
    first.phase,
    settled,
    unchanged,
    changed,
    { ...second.phase, name: 'up, a second time, until it serves' },
  ]
  writeFileSync(options.out, page(phases))
  console.log(page(phases))
} finally {
  await stop()
  rmSync(root, { recursive: true, force: true })
}

/** Beside the sources, with the packages and the compiled processes of this checkout. */
function copyCheckout(): void {
  const listed = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
    cwd: checkout,
  })
  for (const path of listed.toString().split('\n'))
    if (path !== '' && !/^(test|docs|packages\/lab)\/(?!package\.json$)/.test(path))
      cpSync(join(checkout, path), join(root, path), { preserveTimestamps: true })
  cpSync(join(checkout, 'dist'), join(root, 'dist'), { recursive: true, preserveTimestamps: true })
  symlinkSync(join(checkout, 'node_modules'), join(root, 'node_modules'))
  for (const name of names()) writeFileSync(fileOf(name), textOf(name))
}

function changeAll(): void {
  for (const name of names())
    writeFileSync(fileOf(name), textOf(name).replace("every: '1 week'", "every: '2 weeks'"))
}

async function measured(name: string, usage: () => TreeUsage, work: () => Promise<void>): Promise<Phase> {
  const [beganMs, before] = [performance.now(), usage()]
  await work()
  const after = usage()
  const phase = {
    name,
    seconds: (performance.now() - beganMs) / 1_000,
    cpuSeconds: after.cpuSeconds - before.cpuSeconds,
    byProcess: Object.fromEntries(
      Object.entries(after.byProcess).map(([each, cpu]) => [each, cpu - (before.byProcess[each] ?? 0)]),
    ),
  }
  console.log(
    `${name}: ${phase.seconds.toFixed(1)} s, ${phase.cpuSeconds.toFixed(1)} s of CPU`,
    phase.byProcess,
  )
  return phase
}

/** Until its addresses are printed, with every model in the list of the API. */
async function start() {
  const child = spawn('node', [...command, 'up'], {
    cwd: root,
    env: environment,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  up = child
  const usage = watchTree(child.pid!)
  const phase = await measured('up, until it serves', usage, async () => {
    for await (const line of createInterface(child.stdout)) if (line.startsWith('Ctrl-C')) break
    child.stdout.resume()
  })
  const settled = async () => {
    for (let calm = 0; calm < calmMs;) {
      const before = usage().cpuSeconds
      await pause(1_000)
      calm = usage().cpuSeconds - before < calmCores ? calm + 1_000 : 0
    }
  }
  return { phase, usage, settled }
}

async function stop(): Promise<void> {
  const child = up
  if (child === undefined || child.exitCode !== null) return
  const closed = new Promise((resolve) => child.once('close', resolve))
  child.kill('SIGTERM')
  await closed
}

/** With the servers that it calls: the CPU time of both. */
async function run(name: string, args: string[]): Promise<Phase> {
  const child = spawn('node', [...command, ...args], {
    cwd: root,
    env: environment,
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const [own, servers] = [watchTree(child.pid!), watchTree(up!.pid!)]
  const usage = () => {
    const [ofOwn, ofServers] = [own(), servers()]
    return {
      cpuSeconds: ofOwn.cpuSeconds + ofServers.cpuSeconds,
      byProcess: { ...ofServers.byProcess, ...ofOwn.byProcess },
    }
  }
  return measured(name, usage, async () => {
    const code = await new Promise((resolve) => child.once('close', resolve))
    if (code !== 0) throw new Error(`tenure ${args.join(' ')} ended with ${String(code)}`)
  })
}

function page(phases: Phase[]): string {
  const kinds = ['temporal', 'postgres', 'control', 'loading', 'sync', 'other'] as const
  const kindOf = (process: string): (typeof kinds)[number] => {
    if (/load-child|esbuild/.test(process)) return 'loading'
    if (/tenure\.mjs/.test(process)) return 'sync'
    return kinds.find((kind) => process.includes(kind)) ?? 'other'
  }
  const rows = phases.map(({ name, seconds, cpuSeconds, byProcess }) => {
    const of = (kind: string) =>
      Object.entries(byProcess).reduce((sum, [each, cpu]) => sum + (kindOf(each) === kind ? cpu : 0), 0)
    return [name, ...[seconds, cpuSeconds, ...kinds.map(of)].map((each) => each.toFixed(1))]
  })
  return `${[
    '# A thousand models',
    '',
    `\`npm run bench -- many-models\` copies the checkout, adds ${count - 2} model files like models/iris.ts to the two of this project, and starts`,
    'it with empty data. *Up serves* when it prints its addresses: all models are stored, their schedules and monitors exist, and the API',
    `responds. *No work is left* when all processes together use less than ${calmCores} cores for ${calmMs / 1_000} s: every monitor has evaluated its model.`,
    '',
    `${machine}. The load average was ${busyAtStart} at the start of this run and ${loadOfMachine()} at its end; the run alone has about 2. The wall time`,
    'depends on other work; the CPU time depends on it far less.',
    '',
    ...figureTable(
      'Step | Wall (s) | CPU (s) | Temporal | Postgres | Control worker | Loading the files | Command | Others',
      rows,
    ),
  ].join('\n')}\n`
}

function loadOfMachine(): string {
  return (loadavg()[0] ?? 0).toFixed(0)
}
