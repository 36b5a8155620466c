/**
 * Times the first output of each command: `npm run bench:cli`, or with `-- --runs 9`. The help of every command needs no system; the commands that
 * only read also run against the system of `tenure up`, where one runs. `node -e 0` runs in turn with them, because a busy machine delays both.
 */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { commands } from '../../cli/commands/all-commands.ts'
import { connectToApi } from '../../cli/client/connection.ts'
import { checkout, environmentWith } from '../../temporal.config.ts'
import { quantileOf } from '../harness/figures.ts'
import { readOptions } from '../harness/options.ts'

const { runs } = readOptions({ runs: 5 })
const limitMs = 300
const entry = join(checkout, 'cli', 'tenure.mjs')

/** Milliseconds from the start of the process to its first byte, on either stream; to its end where it prints nothing. */
function firstOutput(args: readonly string[]): Promise<number> {
  const from = performance.now()
  const child = spawn(process.execPath, args, { cwd: checkout, env: environmentWith({}) })
  return new Promise((resolve) => {
    let first: number | undefined
    const note = () => (first ??= performance.now() - from)
    child.stdout.on('data', note)
    child.stderr.on('data', note)
    child.on('close', () => resolve(note()))
  })
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

const bare: number[] = []
const slow: string[] = []
console.log('| command | least ms | median | most |\n|---|---|---|---|')
const row = (name: string, times: readonly number[]) =>
  console.log(
    `| \`${name}\` | ${Math.min(...times).toFixed(0)} | ${quantileOf(times, 0.5).toFixed(0)} | ${Math.max(...times).toFixed(0)} |`,
  )
for (const words of measured) {
  const times: number[] = []
  for (let run = 0; run < runs; run++) {
    times.push(await firstOutput([entry, ...words.split(' ')]))
    if (run === 0) bare.push(await firstOutput(['-e', '0']))
  }
  row(`tenure ${words}`, times)
  if (Math.min(...times) > limitMs) slow.push(words)
}
row('node -e 0', bare)
console.log(
  slow.length === 0
    ? `every command within ${limitMs} ms`
    : `never within ${limitMs} ms in ${runs} runs: ${slow.join(', ')}`,
)
if (!isRunning) console.log('no system runs: commands that ask one were not measured')
if (slow.length > 0) process.exitCode = 1
