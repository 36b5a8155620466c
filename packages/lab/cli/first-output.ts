/**
 * Times the first output of each command: `npm run bench -- cli`, or with `--runs 9`. The help of every command needs no system; commands
 * that only read also run against the system of `tenure up`, if one runs. On Linux, CPU time is judged instead of elapsed time, because a
 * busy machine delays every process. `node -e 0` alternates with the commands as the baseline.
 */
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { commands } from '../../../cli/commands/all-commands.ts'
import { connectToApi } from '../../../cli/client/connection.ts'
import { checkout, environmentWith } from '../../../temporal.config.ts'
import { quantileOf } from '../../../test/support/figures.ts'
import { readOptions } from '../harness/options.ts'

const { runs } = readOptions({ runs: 5 })
const limitMs = 300
const entry = join(checkout, 'cli', 'tenure.mjs')

interface FirstOutput {
  ms: number
  /** CPU time of the process with its threads; absent where the system does not report it. */
  cpuMs?: number
}

/** Time from the start of the process to its first byte on either stream, or to its end without output. */
function firstOutput(args: readonly string[]): Promise<FirstOutput> {
  const from = performance.now()
  const child = spawn(process.execPath, args, { cwd: checkout, env: environmentWith({}) })
  return new Promise((resolve) => {
    let first: FirstOutput | undefined
    const note = () => (first ??= { ms: performance.now() - from, cpuMs: processorMs(child.pid) })
    child.stdout.on('data', note)
    child.stderr.on('data', note)
    child.on('close', () => resolve(note()))
  })
}

/** Reads CPU time from fields 14 and 15 of `stat`, in ticks of 10 ms. */
function processorMs(pid: number | undefined): number | undefined {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ')
    return 10 * (Number(fields[11]) + Number(fields[12]))
  } catch {
    return undefined
  }
}

const helps = commands.flatMap((spec) => {
  const [name = ''] = spec.name.split(' ')
  const inner = 'commands' in spec ? spec.commands.map((each) => `${name} ${each.name.split(' ')[0]}`) : []
  return [name, ...inner].map((words) => `${words} --help`)
})
const reading = commands.flatMap((spec) =>
  'commands' in spec
    ? spec.commands.filter((each) => each.name === 'list').map((each) => `${spec.name} ${each.name}`)
    : [],
)
const isRunning = await connectToApi()
  .get('/livez')
  .then(() => true)
  .catch(() => false)
const measured = [
  '--version',
  '--help',
  'completion bash',
  'stauts',
  ...helps,
  ...(isRunning
    ? ['status', 'doctor', ...reading, 'audit verify', 'versions search', 'simulate --releases 4']
    : []),
]

const bare: FirstOutput[] = []
const slow: string[] = []
console.log('| command | least ms | median | most | processor, least ms |\n|---|---|---|---|---|')
const cpuOf = (found: readonly FirstOutput[]) =>
  found.flatMap(({ cpuMs }) => (cpuMs === undefined ? [] : [cpuMs]))
const row = (name: string, found: readonly FirstOutput[]) => {
  const times = found.map(({ ms }) => ms)
  const cpu = cpuOf(found)
  console.log(
    `| \`${name}\` | ${Math.min(...times).toFixed(0)} | ${quantileOf(times, 0.5).toFixed(0)} | ${Math.max(...times).toFixed(0)} | ${cpu.length === 0 ? '–' : Math.min(...cpu)} |`,
  )
}
for (const words of measured) {
  const found: FirstOutput[] = []
  for (let run = 0; run < runs; run++) {
    found.push(await firstOutput([entry, ...words.split(' ')]))
    if (run === 0) bare.push(await firstOutput(['-e', '0']))
  }
  row(`tenure ${words}`, found)
  const cpu = cpuOf(found)
  if (Math.min(...(cpu.length > 0 ? cpu : found.map(({ ms }) => ms))) > limitMs) slow.push(words)
}
row('node -e 0', bare)
console.log(
  slow.length === 0
    ? `every command within ${limitMs} ms`
    : `never within ${limitMs} ms in ${runs} runs: ${slow.join(', ')}`,
)
if (!isRunning) console.log('no system runs: commands that ask one were not measured')
if (slow.length > 0) process.exitCode = 1
