/**
 * The fault simulator: thousands of releases in a world that breaks, from seeds that can be had again. The seeds are dealt
 * out to as many processes as there are cores; what a seed does depends on nothing but itself.
 *
 *   npm run test:sim -- --runs 5000 --seed 1              both modes in turn
 *   npm run test:sim -- --runs 1 --seed 42 --trace        what happened, line by line
 *   npm run test:sim -- --mode liveness                   safety: never wrong; liveness: always ends
 *   npm run test:sim -- --list                            the bugs that can be planted
 *   npm run test:sim -- --plant wall-clock-lease          with one of them
 *   npm run test:sim -- --plants [--seconds 60]           which of them are found, and how fast
 */
import { spawn } from 'node:child_process'
import { availableParallelism } from 'node:os'
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
    cores: { type: 'string', default: String(availableParallelism()) },
    /** Set for a process that runs a part of the seeds: which part, of how many. */
    part: { type: 'string' },
  },
})

interface Found {
  seed: number
  mode: string
  property: string
  message: string
  seconds: number
}

/** What a part has done, its last line. */
interface Told {
  runs: number
  events: number
  virtualMs: number
  cpuSeconds: number
  outcomes: Record<string, number>
  found?: Found
}

if (values.list) for (const { name, says } of plants) console.log(`${name.padEnd(26)} ${says}`)
else if (values.plants) process.exitCode = await tellPlants()
else if (values.part !== undefined) console.log(JSON.stringify(await runPart(values.part)))
else process.exitCode = await run(values.plant === undefined ? undefined : named(values.plant))

/** Runs its part of the seeds one after the other, until a property is broken. */
async function runPart(part: string): Promise<Told> {
  const { simulate } = await import('../test/simulation/run.ts')
  const { replaceGlobals } = await import('../test/simulation/world.ts')
  const { workflowTime } = await import('../test/simulation/workflow-host.ts')
  const modes: readonly Mode[] =
    values.mode === 'safety' || values.mode === 'liveness' ? [values.mode] : (['safety', 'liveness'] as const)
  const elapsed = stopwatch()
  const firstCpu = process.cpuUsage()
  replaceGlobals(workflowTime)
  const [mine, parts] = part.split('/').map(Number) as [number, number]
  const [first, count] = [Number(values.seed), Number(values.runs)]
  const told: Told = { runs: 0, events: 0, virtualMs: 0, cpuSeconds: 0, outcomes: {} }
  const isLate = () => values.seconds !== undefined && elapsed() >= Number(values.seconds)
  for (let seed = first; seed < first + count && !isLate(); seed++) {
    // In pairs, because the modes take turns and one is longer than the other.
    if (Math.floor((seed - first) / 2) % parts !== mine) continue
    const mode = modes[seed % modes.length]!
    const result = await simulate(seed, mode, { traced: values.trace })
    told.runs++
    told.events += result.events
    told.virtualMs += result.virtualMs
    for (const outcome of result.outcomes) told.outcomes[outcome] = (told.outcomes[outcome] ?? 0) + 1
    if (values.trace) for (const line of result.trace) console.log(line)
    const [broken] = result.violations
    if (broken === undefined) continue
    told.found = { seed, mode, ...broken, seconds: elapsed() }
    break
  }
  const cpu = process.cpuUsage(firstCpu)
  return { ...told, cpuSeconds: (cpu.user + cpu.system) / 1e6 }
}

/** Runs all seeds and tells of them. Ends with 1 at a broken property. */
async function run(plant?: Plant): Promise<number> {
  const told = await inParts(plant)
  const { found } = told
  if (found) {
    const { seed, mode, property, message } = found
    if (!values.trace) {
      const again = await partOf(plant, ['--seed', `${seed}`, '--runs', '1', '--mode', mode, '--trace']).told
      console.log(again.lines.slice(-60).join('\n'))
    }
    console.log(`\n${property}: ${message}`)
    const planted = plant === undefined ? '' : ` --plant ${plant.name}`
    console.log(`again: npm run test:sim -- --seed ${seed} --runs 1 --mode ${mode} --trace${planted}`)
  }
  const { runs, events, virtualMs, cpuSeconds, seconds } = told
  console.log(
    `${runs} runs, ${events} events, ${Math.round(virtualMs / 60_000)} virtual minutes: ${found ? 'a property is broken' : 'no property broken'}\n` +
      `${seconds.toFixed(1)} s, ${cpuSeconds.toFixed(1)} s of processors: ${Math.round((runs / seconds) * 60)} runs a minute, ${Math.round((runs / cpuSeconds) * 60)} for each minute of a core\n` +
      Object.entries(told.outcomes)
        .map(([outcome, times]) => `${outcome} ${times}`)
        .join(', '),
  )
  return found ? 1 : 0
}

/** All parts at once. When one has found something, the others need not go on. */
async function inParts(plant?: Plant, limits: string[] = []): Promise<Told & { seconds: number }> {
  const parts = Math.max(1, Math.min(Number(values.cores), Math.ceil(Number(values.runs) / 20)))
  const elapsed = stopwatch()
  const running = Array.from({ length: parts }, (_, mine) =>
    partOf(plant, [
      '--seed',
      values.seed,
      '--runs',
      values.runs,
      ...(values.seconds === undefined ? [] : ['--seconds', values.seconds]),
      ...(values.mode === undefined ? [] : ['--mode', values.mode]),
      ...(values.trace ? ['--trace'] : []),
      ...limits,
      '--part',
      `${mine}/${parts}`,
    ]),
  )
  const sum: Told = { runs: 0, events: 0, virtualMs: 0, cpuSeconds: 0, outcomes: {} }
  await Promise.all(
    running.map(async ({ told }) => {
      const { last, lines } = await told
      if (values.trace) for (const line of lines) console.log(line)
      if (last === undefined) {
        // It was told to stop, or it could not run at all.
        if (!sum.found) throw new Error(`a part has failed: ${lines.join('\n')}`)
        return
      }
      sum.runs += last.runs
      sum.events += last.events
      sum.virtualMs += last.virtualMs
      sum.cpuSeconds += last.cpuSeconds
      for (const [outcome, times] of Object.entries(last.outcomes))
        sum.outcomes[outcome] = (sum.outcomes[outcome] ?? 0) + times
      if (last.found === undefined) return
      if (sum.found === undefined || last.found.seed < sum.found.seed) sum.found = last.found
      for (const each of running) each.stop()
    }),
  )
  return { ...sum, seconds: elapsed() }
}

/** A process of its own: the simulator takes time and chance away from it, and a plant is loaded into its sources. */
function partOf(
  plant: Plant | undefined,
  args: readonly string[],
): { told: Promise<{ lines: string[]; last?: Told }>; stop: () => void } {
  const planting = ['--import', fileURLToPath(new URL('plant.mjs', import.meta.url))]
  const child = spawn(
    process.execPath,
    [
      ...(plant === undefined ? [] : planting),
      '--import',
      'tsx',
      fileURLToPath(import.meta.url),
      ...(args.includes('--part') ? args : [...args, '--part', '0/1']),
    ],
    {
      env: { PATH: '/usr/bin:/bin', ...(plant === undefined ? {} : { TENURE_PLANT: JSON.stringify(plant) }) },
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  const told = new Promise<{ lines: string[]; last?: Told }>((resolve) =>
    child.once('close', () => {
      const lines = output.trimEnd().split('\n')
      if (!lines.at(-1)?.startsWith('{"runs"')) return resolve({ lines })
      const last = JSON.parse(lines.pop()!) as Told
      resolve({ lines, last })
    }),
  )
  return { told, stop: () => void child.kill() }
}

async function tellPlants(): Promise<number> {
  const seconds = values.seconds ?? '60'
  const chosen = values.only === undefined ? plants : values.only.split(',').map(named)
  let missed = 0
  for (const plant of chosen) {
    const { found, runs } = await inParts(plant, ['--runs', '1000000', '--seconds', seconds])
    if (found === undefined) missed++
    console.log(
      `${plant.name.padEnd(26)} ${
        found
          ? `found   ${`${found.seconds.toFixed(1)} s`.padStart(7)}  seed ${String(found.seed).padStart(5)}: ${found.property}`
          : `missed  in ${seconds} s, ${runs} runs`
      }`,
    )
  }
  console.log(`${chosen.length - missed} of ${chosen.length} found`)
  return missed > 1 ? 1 : 0
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
