/** Runs `tenure up --demo`: starts the system, runs the demo, prints its figures, then stays up or exits. */
import { commandProblemOf } from '../client/client.ts'
import { exitCodes, type ExitCode } from '../exit-codes.ts'
import { startSystem } from '../supervisor/system.ts'
import { tableBy, type Columns, type Terminal } from '../terminal.ts'
import { openBrowser } from '../supervisor/browser.ts'
import { welcome } from '../supervisor/welcome.ts'
import { createNarrator, lapseText } from './narrator.ts'
import { countText } from '../../api/charts/figures.ts'
import { outcomeText } from '../../domain/evaluation/verdict-words.ts'
import { runStory, type DemoResult } from './story.ts'
import { demoModel, openWorld, type DemoWorld } from './world.ts'

export interface DemoOptions {
  terminal: Terminal
  exit: boolean
  replicas: number
  /** Whether to open the guide in a browser; undefined to decide by the machine. */
  open: boolean | undefined
}

/** Signals that stop the supervisor. Errors after such a signal do not fail the demo. */
const endings = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
/** Keeps a little traffic after the demo, so that the dashboard shows activity. */
const restingPace = { requestsPerSecond: 5, everyNth: 1 }

/** The page of the guide ends with the same three steps. */
const nextSteps = [
  'Three things to try next, in another terminal:',
  '  npx tenure simulate --scenario error:0.02 --releases 20   what a release policy would do',
  `${`  npx tenure drills run ${demoModel}`.padEnd(60)}a rehearsed rollback`,
  '  npx tenure init ../my-project --from data.csv             a model file of your own',
]

export async function runDemo({ terminal, exit, replicas, open }: DemoOptions): Promise<ExitCode> {
  const narrator = createNarrator(terminal)
  const startedMs = Date.now()
  narrator.title('Tenure demo')
  const starting = startSystem({
    replicas,
    say: (line) => narrator.print(line),
    // Allows fault injection. The demo's clients run on this machine and use plain HTTP.
    environment: { TENURE_DRILLS: 'on', TENURE_TLS_CERT: '', TENURE_TLS_KEY: '', TENURE_TLS_CLIENT_CA: '' },
  })
  const system = await narrator.during(
    () => 'Starting Postgres, Temporal, the workers and the API …',
    starting,
  )
  narrator.print(...welcome(system), '', `Guide to the demo: ${system.url}/guide`)
  openBrowser(`${system.url}/guide`, { wanted: open, interactive: terminal.interactive })
  let stopping = false
  const noteStop = () => void (stopping = true)
  for (const signal of endings) process.once(signal, noteStop)
  let isAbandoned = false
  const world = await openWorld(system, narrator)
  narrator.print(`A key for predictions, valid until the next start: ${world.trafficKey}`)
  try {
    // A signal ends the demo at any point.
    const story = await Promise.race([runStory(world), system.supervision.stopped])
    if (story === undefined) {
      isAbandoned = true
      return exitCodes.interrupted
    }
    showFigures(terminal, world, story, startedMs)
    world.progress = { ...world.progress, runs: world.progress.runs + 1 }
    await world.saveProgress()
    if (exit) return story.failures.length === 0 ? exitCodes.done : exitCodes.otherwise
    world.flow(restingPace)
    narrator.print(
      '',
      `Still running, with a few requests per second. Guide: ${system.url}/guide`,
      '',
      ...nextSteps,
      '',
      'Ctrl-C stops everything.',
    )
    await system.supervision.stopped
    return exitCodes.done
  } catch (error) {
    if (stopping) return exitCodes.interrupted
    const problem = commandProblemOf(error)
    narrator.wrong(problem?.detail ?? (error instanceof Error ? error.message : String(error)))
    narrator.print(`Log: ${system.log.path}`)
    return exitCodes.otherwise
  } finally {
    await world.close().catch(() => {})
    await system.stop()
    narrator.print('Everything is stopped. The next start continues here.')
    // The story may still wait for Temporal; its client would retry on the closed connection and throw.
    if (isAbandoned) process.exit(exitCodes.interrupted)
  }
}

function showFigures(terminal: Terminal, world: DemoWorld, story: DemoResult, startedMs: number): void {
  const { narrator } = world
  const counts = world.replay?.counts()
  const served = (version: string) =>
    (counts?.served ?? [])
      .filter((each) => each.version === version)
      .reduce((sum, each) => sum + each.requests, 0)
  narrator.act(6, 'Figures')
  const columns: Columns<(typeof story.versions)[number]> = {
    version: 'version',
    outcome: ({ outcome }) => outcomeText(outcome),
    'AUC (champion)': 'auc',
    'Brier (champion)': 'brier',
    served: ({ version }) => countText(served(version)),
    'failed requests': ({ rollbackFigures }) => countText(rollbackFigures?.harmed ?? 0),
    'detected after': ({ rollbackFigures }) =>
      rollbackFigures && `${countText(rollbackFigures.canaryRequests)} requests`,
    'rolled back in': ({ rollbackFigures }) => rollbackFigures && lapseText(rollbackFigures.dropped.ms),
  }
  const table = tableBy(terminal, story.versions, columns, { keeps: ['outcome'] })
  narrator.print(...table.split('\n'))
  const failures = Object.entries(counts?.failures ?? {}).map(
    ([code, count]) => `${countText(count)} ${code}`,
  )
  narrator.print(
    '',
    `${countText(counts?.requests ?? 0)} requests, ${countText(counts?.outcomes ?? 0)} outcomes; failures: ${failures.join(', ') || 'none'}`,
    `The demo took ${lapseText(Date.now() - startedMs)}.`,
  )
  for (const text of story.failures) narrator.wrong(text)
  if (story.failures.length === 0) narrator.done('Every step passed.')
}
