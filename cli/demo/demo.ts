/** `tenure up --demo`: starts the system, tells the story, shows its figures, and stays up or ends. */
import { commandProblemOf } from '../client/client.ts'
import { exitCodes, type ExitCode } from '../exit-codes.ts'
import { startSystem } from '../supervisor/system.ts'
import { tableOf, type Terminal } from '../terminal.ts'
import { welcome } from '../supervisor/welcome.ts'
import { createNarrator, lapseText, whole, type Narrator } from './narrator.ts'
import { tellStory, type DemoResult } from './story.ts'
import { openWorld, type DemoWorld } from './world.ts'

export interface DemoOptions {
  terminal: Terminal
  /** Ends after the story. */
  exit: boolean
  replicas: number
}

/** What the supervisor takes as a wish to end; what fails after it is no failure of the story. */
const endings = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
/** After the story a few requests a second, so that there is something to look at. */
const restingPace = { requestsPerSecond: 5, everyNth: 1 }

export async function runDemo({ terminal, exit, replicas }: DemoOptions): Promise<ExitCode> {
  const narrator = createNarrator(terminal)
  const startedMs = Date.now()
  narrator.title('Tenure: models earn it')
  const starting = startSystem({
    replicas,
    say: (line) => narrator.tell(line),
    // Everything here is on loopback and made for looking at: predictions need no key, faults may be switched on.
    environment: { TENURE_DRILLS: 'on', TENURE_PUBLIC_PREDICTIONS: 'on' },
  })
  const system = await narrator.during(
    () => 'starting Postgres, Temporal, the workers and the API …',
    starting,
  )
  narrator.tell(...welcome(system))
  let stopping = false
  const noteStop = () => void (stopping = true)
  for (const signal of endings) process.once(signal, noteStop)
  const world = await openWorld(system, narrator)
  try {
    // A stop from outside ends the story wherever it is.
    const story = await Promise.race([tellStory(world), system.supervision.stopped])
    if (story === undefined) return exitCodes.interrupted
    showFigures(narrator, world, story, startedMs)
    world.place = { ...world.place, told: world.place.told + 1 }
    await world.keepPlace()
    if (exit) return story.wrong.length === 0 ? exitCodes.done : exitCodes.otherwise
    world.flow(restingPace)
    narrator.tell(
      '',
      `It stays up with a few requests a second: ${system.urls[0]}`,
      'Ctrl-C stops everything.',
    )
    await system.supervision.stopped
    return exitCodes.done
  } catch (error) {
    if (stopping) return exitCodes.interrupted
    const problem = commandProblemOf(error)
    narrator.wrong(problem?.detail ?? (error instanceof Error ? error.message : String(error)))
    narrator.tell(`The log is ${system.log.path}`)
    return exitCodes.otherwise
  } finally {
    await world.close().catch(() => {})
    await system.stop()
    narrator.tell('Everything is stopped; the next start goes on from here.')
  }
}

function showFigures(narrator: Narrator, world: DemoWorld, story: DemoResult, startedMs: number): void {
  const tally = world.replay?.counts()
  const served = (version: string) =>
    (tally?.served ?? [])
      .filter((each) => each.version === version)
      .reduce((sum, each) => sum + each.requests, 0)
  narrator.act(6, 'The figures')
  const rows = story.versions.map(({ version, outcome, auc, brier, rollbackFigures }) => [
    version,
    outcome,
    auc,
    brier,
    whole(served(version)),
    rollbackFigures === undefined ? '0' : whole(rollbackFigures.harmed),
    rollbackFigures === undefined ? '–' : `${whole(rollbackFigures.canaryRequests)} requests`,
    rollbackFigures === undefined ? '–' : lapseText(rollbackFigures.droppedMs),
  ])
  const headings = [
    'version',
    'outcome',
    'AUC (champion)',
    'Brier (champion)',
    'served',
    'harmed',
    'noticed after',
    'dropped in',
  ]
  narrator.tell(...tableOf(headings, rows).split('\n'))
  const failures = Object.entries(tally?.failures ?? {}).map(([code, count]) => `${whole(count)} ${code}`)
  narrator.tell(
    '',
    `${whole(tally?.requests ?? 0)} requests, ${whole(tally?.outcomes ?? 0)} outcomes; failures: ${failures.join(', ') || 'none'}`,
    `The story took ${lapseText(Date.now() - startedMs)}.`,
  )
  for (const text of story.wrong) narrator.wrong(text)
  if (story.wrong.length === 0) narrator.done('Every step ended as told.')
}
