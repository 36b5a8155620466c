/**
 * Runs a part of the seeds in a child process, one after another, until a property breaks. Replaces time and randomness of the process, so
 * the process does nothing else. The last line of output reports the result.
 */
import { parseArgs } from 'node:util'
import type { Mode } from './scenario.ts'

export interface Found {
  seed: number
  mode: string
  script?: string
  property: string
  message: string
  seconds: number
}

export interface WorkerReport {
  runs: number
  events: number
  virtualMs: number
  cpuSeconds: number
  outcomes: Record<string, number>
  /** Runs of each script. */
  scripts: Record<string, number>
  found?: Found
}

export interface PartOptions {
  seed: number
  runs: number
  seconds?: number
  mode?: Mode
  trace: boolean
  /** Names of scripts. Each runs with every seed instead of drawn scenarios. */
  scripts?: string[]
  /** Index of this part, and the number of parts. */
  mine: number
  parts: number
}

/** Short timers of a replica fire late, as on a busy machine. This removes most events and is equally realistic. */
const coarseMs = 400

const { positionals } = parseArgs({ allowPositionals: true })
if (positionals[0] !== undefined)
  process.stdout.write(`${JSON.stringify(await runPart(JSON.parse(positionals[0]) as PartOptions))}\n`)

async function runPart({
  seed: first,
  runs,
  seconds,
  mode,
  trace,
  scripts: names = [],
  mine,
  parts,
}: PartOptions): Promise<WorkerReport> {
  // Before the SDK is loaded, which looks for its globals once.
  await import('@tenure/simulator/sandbox')
  const { simulate } = await import('./run.ts')
  const { scripts } = await import('./scripts.ts')
  const chosen = names.map((name) => {
    const script = scripts.find((each) => each.name === name)
    if (script === undefined) throw new Error(`there is no script ${name}`)
    return script
  })
  const { replaceGlobals } = await import('@tenure/simulator')
  const modes: readonly Mode[] = mode === undefined ? ['safety', 'liveness'] : [mode]
  const now = process.hrtime.bigint
  const from = now()
  const elapsed = () => Number(now() - from) / 1e9
  const firstCpu = process.cpuUsage()
  replaceGlobals({
    timerMs: (machine, ms) =>
      machine?.name.startsWith('replica') === true && ms > 0 && ms < coarseMs ? coarseMs : ms,
  })
  const report: WorkerReport = { runs: 0, events: 0, virtualMs: 0, cpuSeconds: 0, outcomes: {}, scripts: {} }
  each: for (const script of chosen.length === 0 ? [undefined] : chosen)
    for (let seed = first; seed < first + runs; seed++) {
      if (seconds !== undefined && elapsed() >= seconds) break each
      // In pairs, because the modes alternate and one takes longer.
      if (Math.floor((seed - first) / 2) % parts !== mine) continue
      const at = modes[seed % modes.length]!
      const result = await simulate(seed, at, { traced: trace, script })
      report.runs++
      if (script) report.scripts[script.name] = (report.scripts[script.name] ?? 0) + 1
      report.events += result.events
      report.virtualMs += result.virtualMs
      for (const outcome of result.outcomes) report.outcomes[outcome] = (report.outcomes[outcome] ?? 0) + 1
      if (trace) for (const line of result.trace) process.stdout.write(`${line}\n`)
      const [broken] = result.violations
      if (broken === undefined) continue
      report.found = { seed, mode: at, script: script?.name, ...broken, seconds: elapsed() }
      break each
    }
  const cpu = process.cpuUsage(firstCpu)
  return { ...report, cpuSeconds: (cpu.user + cpu.system) / 1e6 }
}
