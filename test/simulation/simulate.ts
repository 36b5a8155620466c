/**
 * The fault simulator: simulates thousands of releases in a failing world, from reproducible seeds. Distributes the seeds over the CPU
 * cores; the result of a seed depends on nothing but the seed.
 *
 *   npm run test:sim -- --runs 5000 --seed 1              both modes in turn
 *   npm run test:sim -- --runs 1 --seed 42 --trace        what happened, line by line
 *   npm run test:sim -- --mode liveness                   safety: never wrong; liveness: always ends
 *   npm run test:sim -- --list                            the bugs that can be planted
 *   npm run test:sim -- --plant wall-clock-lease          with one of them
 *   npm run test:sim -- --plants [--seconds 60]           which of them are found, in 5,000 runs each or in a time
 *   npm run test:sim -- --script abort-while-promoting    written scenarios, by their names or `all`
 *   npm run test:sim -- --runs 20000 --seed random        seeds that were never used, printed first
 */
import { spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { text } from 'node:stream/consumers'
import { parseArgs } from 'node:util'
import { bundle } from './bundle.ts'
import type { PartOptions, WorkerReport } from './seed-worker.ts'
import { plants, type Plant } from './planted-bugs.ts'
import { scripts } from './scripts.ts'

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
    script: { type: 'string' },
    cores: { type: 'string', default: String(availableParallelism()) },
  },
})

type Options = Omit<PartOptions, 'mine' | 'parts'>

if (values.seed === 'random') {
  values.seed = String(randomInt(2 ** 31))
  console.log(`seeds from ${values.seed}`)
}
if (values.list)
  for (const { name, says } of [...plants, ...scripts]) console.log(`${name.padEnd(30)} ${says}`)
else if (values.plants) process.exitCode = await reportPlants(values.seconds)
else process.exitCode = await run(values.plant === undefined ? undefined : named(values.plant))

/** Runs all seeds and reports the results. Returns 1 if a property is violated. */
async function run(plant?: Plant): Promise<number> {
  const { file, remove } = await bundle(plant)
  try {
    const options = optionsOf(values.runs, values.seconds)
    const report = await inParts(file, options)
    const { found, runs, events, virtualMs, cpuSeconds, seconds, scripts: played } = report
    if (found) {
      const { seed, mode, property, message, script } = found
      if (!values.trace) {
        const only = script === undefined ? undefined : [script]
        const once: Options = { seed, runs: 1, mode: mode as 'safety', trace: true, scripts: only }
        const again = await startPart(file, { ...once, mine: 0, parts: 1 }).output
        console.log(again.lines.slice(-60).join('\n'))
      }
      const planted = plant === undefined ? '' : ` --plant ${plant.name}`
      const written = script === undefined ? '' : ` --script ${script}`
      console.log(
        `\n${property}: ${message}\n` +
          `again: npm run test:sim -- --seed ${seed} --runs 1 --mode ${mode} --trace${written}${planted}`,
      )
    }
    for (const [name, times] of Object.entries(played))
      console.log(`${name}: ${times} runs, ${found?.script === name ? 'a' : 'no'} property broken`)
    console.log(
      `${runs} runs, ${events} events, ${Math.round(virtualMs / 60_000)} virtual minutes: ${found ? 'a' : 'no'} property broken\n` +
        `${seconds.toFixed(1)} s: ${perMinute(runs, seconds)} runs a minute; ` +
        `${cpuSeconds.toFixed(1)} s of cores: ${perMinute(runs, cpuSeconds)} for each minute of one\n` +
        Object.entries(report.outcomes)
          .map(([outcome, times]) => `${outcome} ${times}`)
          .join(', '),
    )
    return found ? 1 : 0
  } finally {
    remove()
  }
}

async function reportPlants(seconds?: string): Promise<number> {
  const chosen = values.only === undefined ? plants : values.only.split(',').map(named)
  let missed = 0
  for (const plant of chosen) {
    const { file, remove } = await bundle(plant)
    const { script } = plant
    const options =
      script === undefined
        ? optionsOf(seconds === undefined ? '5000' : '1000000', seconds)
        : { ...optionsOf('20'), scripts: [script] }
    const { found, runs } = await inParts(file, options)
    remove()
    if (found === undefined) missed++
    console.log(
      `${plant.name.padEnd(30)} ${
        found
          ? `found   ${`${found.seconds.toFixed(1)} s`.padStart(7)}  ${script ? `script ${script}` : `seed ${String(found.seed).padStart(5)}`}: ${found.property}`
          : `missed  in ${script ? `the script ${script}, ` : ''}${runs} runs`
      }`,
    )
  }
  console.log(`${chosen.length - missed} of ${chosen.length} found`)
  return missed > 0 ? 1 : 0
}

/** Runs all parts in parallel. When one part finds a violation, the others are stopped. */
async function inParts(file: string, options: Options): Promise<WorkerReport & { seconds: number }> {
  const parts = Math.max(1, Math.min(Number(values.cores), Math.ceil(options.runs / 20)))
  const from = performance.now()
  const running = Array.from({ length: parts }, (_, mine) => startPart(file, { ...options, mine, parts }))
  const sum: WorkerReport = { runs: 0, events: 0, virtualMs: 0, cpuSeconds: 0, outcomes: {}, scripts: {} }
  await Promise.all(
    running.map(async ({ output }) => {
      const { last, lines } = await output
      if (values.trace) for (const line of lines) console.log(line)
      if (last === undefined) {
        // The part was stopped, or it could not run at all.
        if (!sum.found) throw new Error(`a part has failed: ${lines.join('\n')}`)
        return
      }
      sum.runs += last.runs
      sum.events += last.events
      sum.virtualMs += last.virtualMs
      sum.cpuSeconds += last.cpuSeconds
      for (const [outcome, times] of Object.entries(last.outcomes))
        sum.outcomes[outcome] = (sum.outcomes[outcome] ?? 0) + times
      for (const [name, times] of Object.entries(last.scripts))
        sum.scripts[name] = (sum.scripts[name] ?? 0) + times
      if (last.found === undefined) return
      if (sum.found === undefined || last.found.seed < sum.found.seed) sum.found = last.found
      for (const each of running) each.stop()
    }),
  )
  return { ...sum, seconds: (performance.now() - from) / 1000 }
}

function startPart(file: string, options: PartOptions) {
  // Most of what a run allocates is garbage after its event; a larger young generation copies less of it.
  const child = spawn(process.execPath, ['--max-semi-space-size=64', file, JSON.stringify(options)], {
    env: { PATH: '/usr/bin:/bin' },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const output = text(child.stdout).then((output) => {
    const lines = output.trimEnd().split('\n')
    const last = lines.at(-1)?.startsWith('{"runs"') ? (JSON.parse(lines.pop()!) as WorkerReport) : undefined
    return { lines, last }
  })
  return { output, stop: () => void child.kill() }
}

function optionsOf(runs: string, seconds?: string): Options {
  const { mode, seed, trace } = values
  return {
    seed: Number(seed),
    runs: Number(runs),
    trace,
    seconds: seconds === undefined ? undefined : Number(seconds),
    scripts: values.script === 'all' ? scripts.map(({ name }) => name) : values.script?.split(','),
    ...(mode === 'safety' || mode === 'liveness' ? { mode } : {}),
  }
}

function perMinute(runs: number, seconds: number): number {
  return Math.round((runs / seconds) * 60)
}

function named(name: string): Plant {
  const plant = plants.find((each) => each.name === name)
  if (plant === undefined) throw new Error(`there is no plant ${name}; --list names them`)
  return plant
}
