/**
 * The fault simulator: thousands of releases in a world that breaks, from seeds that can be had again.
 *
 *   npm run test:sim -- --runs 5000 --seed 1              both modes in turn
 *   npm run test:sim -- --runs 1 --seed 42 --trace        what happened, line by line
 *   npm run test:sim -- --mode liveness                   safety: never wrong; liveness: always ends
 *   npm run test:sim -- --list                            the bugs that can be planted
 *   npm run test:sim -- --plant wall-clock-lease          with one of them
 *   npm run test:sim -- --plants [--seconds 60]           which of them are found, and how fast
 */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import type { Mode } from '../test/simulation/scenario.ts'
import { plants, type Plant } from '../test/simulation/plants.ts'

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '1000' },
    seed: { type: 'string', default: '1' },
    seconds: { type: 'string' },
    mode: { type: 'string' },
    trace: { type: 'boolean', default: false },
    plant: { type: 'string' },
    plants: { type: 'boolean', default: false },
    only: { type: 'string' },
    list: { type: 'boolean', default: false },
    /** Set for the process that carries the plant. */
    planted: { type: 'boolean', default: false },
  },
})

interface Found {
  seed: number
  mode: string
  property: string
  message: string
  runs: number
  seconds: number
}

if (values.list) for (const { name, says } of plants) console.log(`${name.padEnd(26)} ${says}`)
else if (values.plants) process.exitCode = await tellPlants()
else if (values.plant !== undefined && !values.planted)
  process.exitCode = (await inProcessOf(named(values.plant))).code
else process.exitCode = await run()

/** Runs seeds one after the other. Ends with 1 at a broken property. */
async function run(): Promise<number> {
  const { simulate } = await import('../test/simulation/run.ts')
  const { replaceGlobals } = await import('../test/simulation/world.ts')
  const { workflowTime } = await import('../test/simulation/workflow-host.ts')
  const modes: readonly Mode[] =
    values.mode === 'safety' || values.mode === 'liveness' ? [values.mode] : (['safety', 'liveness'] as const)
  const elapsed = stopwatch()
  const firstCpu = process.cpuUsage()
  replaceGlobals(workflowTime)
  const [first, count] = [Number(values.seed), Number(values.runs)]
  const outcomes = new Map<string, number>()
  let events = 0
  let virtualMs = 0
  let runs = 0
  while (runs < count && (values.seconds === undefined || elapsed() < Number(values.seconds))) {
    const seed = first + runs++
    const mode = modes[seed % modes.length]!
    const result = await simulate(seed, mode, { traced: values.trace })
    events += result.events
    virtualMs += result.virtualMs
    for (const outcome of result.outcomes) outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
    if (values.trace) for (const line of result.trace) console.log(line)
    const [broken] = result.violations
    if (broken === undefined) continue
    const found: Found = { seed, mode, ...broken, runs, seconds: elapsed() }
    if (values.planted && !values.trace) {
      console.log(JSON.stringify(found))
      return 1
    }
    if (!values.trace) {
      const again = await simulate(seed, mode, { traced: true })
      console.log(again.trace.slice(-60).join('\n'))
    }
    console.log(`\n${broken.property}: ${broken.message}`)
    const planted = values.plant === undefined ? '' : ` --plant ${values.plant}`
    console.log(`again: npm run test:sim -- --seed ${seed} --runs 1 --mode ${mode} --trace${planted}`)
    return 1
  }
  const cpu = process.cpuUsage(firstCpu)
  const cpuSeconds = (cpu.user + cpu.system) / 1e6
  console.log(
    `${runs} runs, ${events} events, ${Math.round(virtualMs / 60_000)} virtual minutes: no property broken\n` +
      `${elapsed().toFixed(1)} s, ${cpuSeconds.toFixed(1)} s of one core: ${Math.round((runs / cpuSeconds) * 60)} runs a minute\n` +
      [...outcomes].map(([outcome, times]) => `${outcome} ${times}`).join(', '),
  )
  return 0
}

function stopwatch(): () => number {
  const now = process.hrtime.bigint
  const from = now()
  return () => Number(now() - from) / 1e9
}

function named(name: string): Plant {
  const plant = plants.find((each) => each.name === name)
  if (plant === undefined) throw new Error(`there is no plant ${name}; --list names them`)
  return plant
}

/** A plant lives in a process of its own, where the sources are loaded with it. */
async function inProcessOf(plant: Plant, seconds?: string): Promise<{ code: number; output: string }> {
  const args = ['--planted', '--plant', plant.name, '--seed', values.seed]
  if (seconds === undefined) args.push('--runs', values.runs)
  else args.push('--runs', '1000000', '--seconds', seconds)
  if (values.mode !== undefined) args.push('--mode', values.mode)
  if (values.trace) args.push('--trace')
  const quiet = seconds !== undefined
  const child = spawn(
    process.execPath,
    [
      '--import',
      fileURLToPath(new URL('plant.mjs', import.meta.url)),
      '--import',
      'tsx',
      fileURLToPath(import.meta.url),
      ...args,
    ],
    {
      env: { PATH: '/usr/bin:/bin', TENURE_PLANT: JSON.stringify(plant) },
      stdio: ['ignore', quiet ? 'pipe' : 'inherit', 'inherit'],
    },
  )
  let output = ''
  child.stdout?.on('data', (chunk: Buffer) => (output += chunk.toString()))
  const code = await new Promise<number>((resolve) => child.once('exit', (each) => resolve(each ?? 1)))
  return { code, output }
}

async function tellPlants(): Promise<number> {
  const seconds = values.seconds ?? '60'
  const chosen = values.only === undefined ? plants : values.only.split(',').map(named)
  let missed = 0
  for (const plant of chosen) {
    const { code, output } = await inProcessOf(plant, seconds)
    const line = output.split('\n').find((each) => each.startsWith('{"seed"'))
    const found = line === undefined ? undefined : (JSON.parse(line) as Found)
    if (found === undefined) missed++
    console.log(
      `${plant.name.padEnd(26)} ${
        found
          ? `found   ${`${found.seconds.toFixed(1)} s`.padStart(7)}  ${String(found.runs).padStart(5)} runs  seed ${found.seed}: ${found.property}`
          : code === 0
            ? `missed  in ${seconds} s`
            : `failed  ${output.slice(0, 300)}`
      }`,
    )
  }
  console.log(`${chosen.length - missed} of ${chosen.length} found`)
  return missed > 1 ? 1 : 0
}
