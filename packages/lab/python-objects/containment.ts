/**
 * Measures what faults of a model in Python cost another one, and what a process for each version costs, on real processes, in turns. Writes
 * packages/lab/python-objects/containment.md. `npm run bench -- python-containment [--rounds 3] [--ms 2000] [--out FILE]`
 */
import { readdirSync, readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { loadavg } from 'node:os'
import { dirname, join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { createRuntimes } from '../../../api/serving/runtime/hosts.ts'
import { preparePython } from '../../../store/python/python-environment.ts'
import { cacheDir, installerEnvironment } from '../../../temporal.config.ts'
import { figureTable, machine, spreadOf } from '../../../test/support/figures.ts'
import { pythonFile } from '../../../test/support/serving/python-file.ts'
import { faultLimits, pythonFaults, soundModel } from '../../../test/support/serving/python-faults.ts'
import { readOptions, reportFile } from '../harness/options.ts'

const options = readOptions({ rounds: 3, ms: 2_000, out: reportFile('python-objects/containment.md') })
const versions = 4
const { packages: installed } = await preparePython({
  requirements: join(dirname(fileURLToPath(import.meta.url)), 'requirements.txt'),
  cache: cacheDir(),
  env: installerEnvironment(),
  signal: AbortSignal.timeout(1_200_000),
})
const runtimes = createRuntimes({ onError: () => {}, ...faultLimits('runMs'), memoryMb: 2_048 })
const { python = '', ...packages } = installed

const open = (code: string) => {
  const needs = { python, packages }
  return runtimes.python.open('bench', { bytes: pythonFile(code, needs), plan: {}, needs }, { inputs: 1 })
}
const ask = ({ run }: Awaited<ReturnType<typeof open>>) => run(Float64Array.of(1), 1, new Float32Array(1))

const computes =
  'import time\ndef answer(rows):\n    until = time.process_time() + 0.05\n    while time.process_time() < until: pass\n    return rows'
const kinds: Record<string, string | undefined> = {
  'does not exist': undefined,
  'only computes': computes,
  ...Object.fromEntries(Object.entries(pythonFaults).map(([name, { code }]) => [name, code])),
}

/** Asks a model as long as the window lasts, and opens it again when it has died. */
async function askFaulty(code: string, isOver: () => boolean): Promise<void> {
  while (!isOver())
    try {
      const model = await open(code)
      try {
        while (!isOver()) await ask(model)
      } finally {
        model.close?.()
      }
    } catch {
      await pause(20)
    }
}

interface Window {
  p99Ms: number
  loopMs: number
}
const found = new Map<string, Window[]>(Object.keys(kinds).map((name) => [name, []]))
const starts: number[] = []
let memoryMb = 0
try {
  const sound = await open(soundModel)
  for (let round = 0; round < options.rounds; round++)
    for (const [name, code] of Object.entries(kinds)) {
      let isOver = false
      const faulty = code === undefined ? undefined : askFaulty(code, () => isOver)
      const loop = monitorEventLoopDelay({ resolution: 1 })
      loop.enable()
      const times: number[] = []
      for (const until = performance.now() + options.ms; performance.now() < until; await pause(2)) {
        const began = performance.now()
        await ask(sound)
        times.push(performance.now() - began)
      }
      loop.disable()
      isOver = true
      const sorted = times.toSorted((a, b) => a - b)
      found.get(name)!.push({
        p99Ms: sorted[Math.floor(sorted.length * 0.99)]!,
        loopMs: loop.percentile(99) / 1e6,
      })
      console.log(name, JSON.stringify(found.get(name)!.at(-1)))
      await faulty
    }
  sound.close?.()
  const library = `import pandas, sklearn.compose, sklearn.linear_model, sklearn.pipeline\n${soundModel}`
  const models = []
  for (let version = 0; version < versions; version++) {
    const began = performance.now()
    models.push(await open(library))
    await ask(models.at(-1)!)
    starts.push(performance.now() - began)
  }
  memoryMb = servedMemoryMb() / versions
  await writeFile(options.out, report())
} finally {
  await runtimes.stop()
}

/** The proportional memory of the Python processes below this one. */
function servedMemoryMb(): number {
  const read = (pid: number | string, name: string): string => {
    try {
      return readFileSync(`/proc/${pid}/${name}`, 'utf8')
    } catch {
      return ''
    }
  }
  const parentOf = (pid: number): number => Number(/\) \S (\d+)/.exec(read(pid, 'stat'))?.[1] ?? 0)
  const isOwn = (pid: number): boolean => pid > 1 && (pid === process.pid || isOwn(parentOf(pid)))
  return readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid) && read(pid, 'cmdline').includes('python\0-m\0tenure._serve'))
    .filter((pid) => isOwn(Number(pid)))
    .reduce((sum, pid) => sum + Number(/^Pss:\s+(\d+)/m.exec(read(pid, 'smaps_rollup'))?.[1] ?? 0) / 1_024, 0)
}

function report(): string {
  const inMs = (values: readonly number[]) =>
    spreadOf(values)
      .map((ms) => ms.toFixed(1))
      .join(' / ')
  const middle = (name: string) => spreadOf(found.get(name)!.map(({ p99Ms }) => p99Ms))[1]!
  return [
    '# Faults of a model in Python, and what they cost another one',
    '',
    `Made by \`npm run bench -- python-containment --rounds ${options.rounds} --ms ${options.ms}\` on ${machine}, load average ${loadavg()[0]!.toFixed(1)} at the end.`,
    '',
    'One model in a Python process is asked a row every 2 ms, while the process of another one has a fault, again and again. Both are run as a replica',
    'runs them. The 99th percentile of its answers, and of the delay of the event loop of the replica, as smallest / median / largest of the rounds, in turns. A process that only computes is the',
    'measure: it takes one processor.',
    '',
    ...figureTable(
      'the other model | p99, ms | ÷ only computes | event loop p99, ms',
      Object.keys(kinds).map((name) => [
        name,
        inMs(found.get(name)!.map(({ p99Ms }) => p99Ms)),
        (middle(name) / middle('only computes')).toFixed(2),
        inMs(found.get(name)!.map(({ loopMs }) => loopMs)),
      ]),
    ),
    '',
    '## A process for each version',
    '',
    `${versions} versions with the packages of one environment (pandas and scikit-learn are imported), opened one after the other: ${inMs(starts)} ms from the start of`,
    `the process to the first answer, and ${memoryMb.toFixed(0)} MB each (proportional, with what the kernel shares between them). No server`,
    'forks versions that share imports: its children would share its user, processes and folder, which each version has for itself now.',
    '',
  ].join('\n')
}
