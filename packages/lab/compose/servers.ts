/** Runs the servers of compose.yaml whose images come from a registry as processes, with the settings and steps of that file. */
import { execFile } from 'node:child_process'
import { chownSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import {
  planPostgres,
  type RunningProcess,
  spawnProcess,
  startTemporal,
  temporalCli,
  whenReady,
} from '@tenure/embedded'
import { checkout, systemEnvironment } from '../../../temporal.config.ts'
import type { ComposeService } from '../../../test/support/deploy/compose-file.ts'

const run = promisify(execFile)

export interface ComposeServers {
  /** Runs the command of the service `search-attributes`. */
  addSearchAttributes(service: ComposeService): Promise<void>
  stop(): Promise<void>
}

const ready = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })

/** Starts the servers on the ports of the file, in a separate network. */
export async function startComposeServers(home: string, postgres: ComposeService): Promise<ComposeServers> {
  const database = await startDatabase(home, postgres)
  const temporal = await startTemporal({ port: 7233, uiPort: false })
  const program = temporalCli()
  return {
    async addSearchAttributes({ entrypoint = [], command, environment }) {
      const [shell = 'sh', ...words] = entrypoint
      const path = `${dirname(program)}:${systemEnvironment()['PATH']}`
      // Temporal takes some seconds to show an attribute to the next command.
      await run(shell, [...words, ...command], {
        env: { ...systemEnvironment(), ...environment, PATH: path, TEMPORAL_ADDRESS: '127.0.0.1:7233' },
      })
    },
    async stop() {
      await temporal.stop()
      await database.stop()
    },
  }
}

/** Starts Postgres as the image does: the superuser gets the password, and psql runs the roles file. */
async function startDatabase(
  home: string,
  { environment, volumes }: ComposeService,
): Promise<RunningProcess> {
  const { command, userId } = await planPostgres({ dataDir: join(home, 'unused') })
  const data = join(home, 'postgres')
  const passwordFile = join(home, 'password')
  mkdirSync(data, { mode: 0o700 })
  writeFileSync(passwordFile, environment['POSTGRES_PASSWORD']!, { mode: 0o600 })
  const as = userId === undefined ? {} : { uid: userId, gid: userId }
  if (userId !== undefined) for (const path of [data, passwordFile]) chownSync(path, userId, userId)
  const initdb = ['-D', data, '-U', 'postgres', '-A', 'scram-sha-256', `--pwfile=${passwordFile}`]
  await run(join(dirname(command), 'initdb'), initdb, { ...as, cwd: '/', env: systemEnvironment() })
  const spec = {
    name: 'postgres',
    command,
    args: ['-D', data, '-c', 'unix_socket_directories=', '-c', 'port=5432'],
    cwd: '/',
    stopSignal: 'SIGINT' as const,
    ...(userId !== undefined && { userId }),
    isReady: () => ready(5432),
  }
  const running = await spawnProcess(spec, (line) => process.stderr.write(`postgres ${line}\n`))
  await whenReady(spec, running)
  const [file = ''] = volumes
    .find((each) => each.includes('/docker-entrypoint-initdb.d/roles.sql'))!
    .split(':')
  await run('psql', ['-v', 'ON_ERROR_STOP=1', '-f', join(checkout, file)], {
    env: {
      ...systemEnvironment(),
      ...environment,
      PGHOST: '127.0.0.1',
      PGUSER: 'postgres',
      PGPASSWORD: readFileSync(passwordFile, 'utf8'),
    },
  })
  return running
}
