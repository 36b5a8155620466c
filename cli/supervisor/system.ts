/** Starts Tenure on one machine: servers, workers and API replicas under the supervisor. Shared by `tenure up` and the demo. */
import { join } from 'node:path'
import {
  environmentWith,
  readCommandConfig,
  readConfig,
  type CommandConfig,
  type Config,
} from '../../temporal.config.ts'
import { isError } from '../../domain/errors.ts'
import { planCore, planProcesses } from './process-plan.ts'
import { failure } from '../client/client.ts'
import { findConnection, writeConnection } from '../client/connection.ts'
import { openStateDir } from '../embedded/state-dir.ts'
import { openMergedLog, type MergedLog } from './merged-log.ts'
import { expectUnclaimed } from './pidfile.ts'
import { choosePort } from './ports.ts'
import { firstKey, prepareCore, type Prepared } from './bootstrap.ts'
import { restartReplicas } from './rolling-restart.ts'
import { bindSharedPort } from './shared-port.ts'
import { supervise, type Supervision } from './supervisor.ts'

export interface SystemOptions {
  /** Number of API replicas. Several share the first port, and each also has its own port after it. */
  replicas: number
  environment?: Record<string, string>
  say: (line: string) => void
  echo?: (line: string) => void
}

export interface System {
  config: Config
  stateDir: string
  /** Address of the API: the shared port, or that of the only replica. */
  url: string
  /** Address of each replica, for its metrics. */
  urls: string[]
  temporalUi?: string
  log: MergedLog
  prepared: Prepared
  supervision: Supervision
  stop(): Promise<void>
}

/** Starts everything and resolves when all of it serves. If one part cannot start, all are stopped and its error is thrown. */
export async function startSystem(options: SystemOptions): Promise<System> {
  const command = readCommandConfig()
  const stateDir = openStateDir(command.stateDir)
  // Checked before the ports, because a running system holds the default ones.
  expectUnclaimed(join(stateDir, 'supervisor.json'))
  const ports = await choosePorts(command, options)
  const core = await planCore({ ...command, stateDir, ports })
  const environment = {
    ...options.environment,
    DATABASE_URL: core.databaseUrl,
    TEMPORAL_ADDRESS: core.temporalAddress,
    TENURE_STATE: stateDir,
  }
  const config = readConfig(environmentWith(environment))
  const urls = ports.api.map((port) => `http://${config.api.host}:${port}`)
  const log = openMergedLog(stateDir, options.echo)
  let prepared: Prepared | undefined
  const prepare = async () => {
    prepared = await prepareCore({
      ...core,
      config,
      replicas: ports.api.length,
      localKey: findConnection(stateDir)?.key,
    })
    if (prepared.warning !== undefined) options.say(`Warning: ${prepared.warning}`)
  }
  const sharedPort =
    ports.shared === undefined ? undefined : bindSharedPort({ host: config.api.host, port: ports.shared })
  const url = sharedPort === undefined ? (urls[0] ?? '') : `http://${config.api.host}:${sharedPort.port}`
  const { servers } = core
  const processes = planProcesses({ config, servers, environment, apiPorts: ports.api, sharedPort, prepare })
  const interruption = watchInterruption()
  try {
    const supervision = await supervise([...servers, ...processes], { log: log.write, stateDir })
    if (interruption.received()) await supervision.stop()
    if (prepared === undefined || interruption.received())
      throw new Error('the processes started before their database was prepared')
    const { databaseUrl, temporalAddress } = core
    const { namespace } = config.temporal
    const key = prepared.localKey
    writeConnection(stateDir, { pid: process.pid, url, key, databaseUrl, temporalAddress, namespace })
    const roll = () => void restartReplicas({ supervision, urls, say: (line) => log.write('tenure', line) })
    process.on(rollSignal, roll)
    const stop = async () => {
      process.off(rollSignal, roll)
      await supervision.stop()
      sharedPort?.close()
      await log.close()
    }
    const { temporalUi } = core
    return { config, stateDir, url, urls, temporalUi, log, prepared, supervision, stop }
  } catch (error) {
    firstKey(prepared ?? {}).forEach(options.say)
    await log.close()
    if (interruption.received())
      throw failure({ code: 'interrupted', detail: 'interrupted during the start' })
    throw explained(error, log)
  } finally {
    interruption.end()
  }
}

const endings = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

function watchInterruption() {
  let isReceived = false
  const note = () => void (isReceived = true)
  for (const signal of endings) process.once(signal, note)
  return {
    received: () => isReceived,
    end() {
      for (const signal of endings) process.off(signal, note)
    },
  }
}

/** Restarts the API replicas one by one. */
const rollSignal = 'SIGUSR2'
/** Adds the last log lines of the process that failed to start. */
function explained(error: unknown, log: MergedLog): unknown {
  if (!(error instanceof Error) || isError(error)) return error
  const tail = log.tail(error.message.split(' ')[0] ?? '').map((line) => `\n  ${line}`)
  return failure({
    code: 'internal',
    detail: `${error.message}${tail.join('')}`,
    remedy: `Read the log ${log.path}, or run \`tenure doctor\`.`,
  })
}

/** Chooses a port for each server started here and for each replica. */
async function choosePorts(command: CommandConfig, { replicas, say }: SystemOptions) {
  const { postgres, temporal, temporalUi, api: firstApi } = command.ports
  const ownPostgres = command.databaseUrl === undefined
  const ownTemporal = command.temporalAddress === undefined
  const choose = (needed: boolean, what: string, port: number, variable: string) =>
    needed ? choosePort({ what, port, variable }, say) : port
  const servers = {
    postgres: await choose(ownPostgres, 'Postgres', postgres, 'TENURE_POSTGRES_PORT'),
    temporal: await choose(ownTemporal, 'Temporal', temporal, 'TENURE_TEMPORAL_PORT'),
    temporalUi: await choose(ownTemporal, "Temporal's user interface", temporalUi, 'TENURE_TEMPORAL_UI_PORT'),
  }
  const nextApi = (index: number) =>
    choose(true, 'the API', firstApi === 0 ? 0 : firstApi + index, 'TENURE_PORT')
  const first = await nextApi(0)
  if (replicas === 1) return { ...servers, api: [first], shared: undefined }
  const api: number[] = []
  for (let index = 1; index <= replicas; index++) api.push(await nextApi(index))
  return { ...servers, api, shared: first }
}
