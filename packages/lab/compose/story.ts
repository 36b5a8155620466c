/**
 * Runs the experience of a compose.yaml user: all services start, a model is trained, released and queried, and new containers continue
 * with the volumes.
 */
import { readFileSync } from 'node:fs'
import { insertKey } from '../../../store/access/api-keys.ts'
import { openStore } from '../../../store/postgres.ts'
import { findOpenRelease, findRelease } from '../../../store/release/releases.ts'
import { sayTo, untilHolds } from '../../../test/support/fleet/fleet-stage.ts'
import { podman } from '../image/podman.ts'
import type { ComposeService } from '../../../test/support/deploy/compose-file.ts'
import { startComposeServers } from './servers.ts'

export interface ComposeStory {
  steps: { name: string; seconds: number }[]
  version: string
  users: string[]
}

const model = 'iris'
const row = { sepalLength: 5.1, sepalWidth: 3.5, petalLength: 1.4, petalWidth: 0.2 }
const url = 'http://127.0.0.1:7400'
const prefix = `tenure-compose-${process.pid}`
const showsKey = (log: string): boolean => log.includes('The first admin key, shown this once')
const nameOf = (service: string): string => `${prefix}-${service}`

export async function runComposeStory(
  services: readonly ComposeService[],
  { root, init }: { root: string; init: string },
): Promise<ComposeStory> {
  const of = (name: string) => services.find((each) => each.name === name)!
  const containers = services.filter(({ image }) => image.startsWith('tenure'))
  const steps: ComposeStory['steps'] = []
  const step = async <T>(name: string, work: () => Promise<T>): Promise<T> => {
    const fromMs = performance.now()
    const done = await work()
    steps.push({ name, seconds: (performance.now() - fromMs) / 1_000 })
    console.error(`${name}: ${steps.at(-1)!.seconds.toFixed(1)} s`)
    return done
  }
  const servers = await step('Postgres and Temporal', () => startComposeServers(root, of('postgres')))
  const store = openStore(containers[0]!.environment['DATABASE_URL']!.replace('@postgres:', '@127.0.0.1:'), {
    max: 2,
    onError: () => {},
  })
  try {
    await step('search-attributes', () => servers.addSearchAttributes(of('search-attributes')))
    const start = async () => {
      for (const service of containers) await begin(service, init)
      await untilHolds(isHealthy(of('api')), (is) => is, { what: 'the API is healthy', withinMs: 180_000 })
      await untilHolds(
        () => podman('inspect', '--format', '{{.State.ExitCode}} {{.State.Status}}', nameOf('models')),
        (state) => state === '0 exited',
        { what: '`models` has ended', everyMs: 500, withinMs: 180_000 },
      )
    }
    await step('all containers, to a healthy API and migrated tables', start)
    await step('the first admin key in the log of the API', () =>
      untilHolds(() => podman('logs', nameOf('api')), showsKey, {
        what: 'the key is shown',
        everyMs: 500,
        withinMs: 60_000,
      }),
    )
    const version = await step('a training, an approval and a release', async () => {
      const key = async (role: 'operator' | 'approver') => (await insertKey(store, { name: role, role })).key
      const [operator, approver] = [await key('operator'), await key('approver')]
      // A replica may not have read the new key yet.
      await untilHolds(
        () => sayTo(url, operator)<{ code?: string }>('POST', `/v1/models/${model}/retrainings`, {}),
        ({ code }) => code === undefined,
        { what: 'the retraining is accepted', everyMs: 500, withinMs: 60_000 },
      )
      const open = await untilHolds(
        () => findOpenRelease(store, model),
        (found) => found?.state.stage === 'awaiting_approval',
        { what: 'the trained version awaits its approval', everyMs: 200, withinMs: 300_000 },
      )
      await sayTo(url, approver)('POST', `/v1/releases/${open!.state.id}/approve`, {})
      await untilHolds(
        () => findRelease(store, open!.state.id),
        (found) => found?.outcome === 'promoted',
        { what: 'the release is promoted', everyMs: 200, withinMs: 180_000 },
      )
      return open!.state.version
    })
    const predictor = (await insertKey(store, { name: 'caller', role: 'predictor' })).key
    const answers = () =>
      untilHolds(
        () =>
          sayTo(url, predictor)<{ version?: string }>('POST', `/v1/models/${model}/predict`, {
            instances: [row],
          }).catch(() => ({ version: undefined })),
        (answer) => answer.version === version,
        { what: `${version} answers`, everyMs: 200, withinMs: 120_000 },
      )
    await step('a prediction', answers)
    const users = await Promise.all(['api', 'control', 'train'].map(userOf))
    await step('all containers replaced, to the next prediction', async () => {
      await removeAll(containers)
      await start()
      await answers()
    })
    return { steps, version, users }
  } catch (error) {
    for (const { name } of containers)
      console.error(`${name}: ${await podman('logs', '--tail', '15', nameOf(name)).catch(String)}`)
    throw error
  } finally {
    await removeAll(containers)
    for (const volume of volumesOf(containers))
      await podman('volume', 'rm', '--force', volume).catch(() => {})
    await store.close()
    await servers.stop()
  }
}

/** Starts a container as `docker compose up` does. The other services are on this machine, under their names. */
async function begin(
  { name, image, command, environment, volumes, ...of }: ComposeService,
  init: string,
): Promise<void> {
  await podman(
    'run',
    '--detach',
    '--name',
    nameOf(name),
    '--network=host',
    ...['postgres', 'temporal'].map((other) => `--add-host=${other}:127.0.0.1`),
    ...(of.init ? ['--init', '--init-path', init] : []),
    `--restart=${of.restart}`,
    ...Object.entries(environment).flatMap(([key, value]) => ['--env', `${key}=${value}`]),
    ...volumes.flatMap((volume) => ['--volume', `${prefix}-${volume}`]),
    `localhost/${image}`,
    ...command,
  )
}

/** Runs the command of its health check in its container. */
const isHealthy =
  ({ name, healthcheck = [] }: ComposeService) =>
  (): Promise<boolean> =>
    podman('exec', nameOf(name), ...healthcheck).then(
      () => true,
      () => false,
    )

/** Returns the user of the process below the init process, as this machine sees it. */
async function userOf(name: string): Promise<string> {
  const pid = await podman('inspect', '--format', '{{.State.Pid}}', nameOf(name))
  return `${name} ${/^Uid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? ''}`
}

async function removeAll(containers: readonly ComposeService[]): Promise<void> {
  for (const { name } of containers.toReversed())
    await podman('rm', '--force', '--time', '30', nameOf(name)).catch(() => {})
}

const volumesOf = (containers: readonly ComposeService[]): Set<string> =>
  new Set(containers.flatMap(({ volumes }) => volumes.map((each) => `${prefix}-${each.split(':')[0]}`)))
