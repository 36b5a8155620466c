/** Starts servers of models that are programs of Python, and ends them with the workers that they have started. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { freePort } from '@tenure/embedded'
import { systemEnvironment } from '../../../temporal.config.ts'
import { waitUntil } from '../serving/api-process.ts'

export function startProgram(command: string, words: string[]): { stop: () => Promise<void> } {
  // MLflow starts other programs of its folder by their names.
  const bare = systemEnvironment()
  const env = { ...bare, PATH: `${dirname(command)}:${bare['PATH']}` }
  const program: ChildProcess = spawn(command, words, {
    env,
    stdio: 'ignore',
    detached: true,
  })
  const exited = once(program, 'exit')
  return {
    async stop() {
      process.kill(-program.pid!, 'SIGKILL')
      await exited
    },
  }
}

/** Resolves once an address answers with a status of success. */
export const answers = (address: string): Promise<void> =>
  waitUntil(
    () =>
      fetch(address).then(
        ({ ok }) => ok,
        () => false,
      ),
    address,
  )

/** Starts MLServer with the models of a folder. `bin`: the folder of its program. */
export async function startMlserver(
  bin: string,
  folder: string,
  models: readonly string[],
  host = '127.0.0.1',
) {
  const [http_port, grpc_port, metrics_port] = [await freePort(), await freePort(), await freePort()]
  const ports = { http_port, grpc_port, metrics_port }
  // By default it writes its metrics into the working directory.
  const settings = { host, ...ports, metrics_dir: join(folder, '.metrics'), parallel_workers: 0 }
  await writeFile(join(folder, 'settings.json'), JSON.stringify(settings))
  const { stop } = startProgram(join(bin, 'mlserver'), ['start', folder])
  const address = `http://${host}:${http_port}`
  for (const model of models) await answers(`${address}/v2/models/${model}/ready`)
  return {
    port: http_port,
    address,
    grpc: `grpc://${host}:${grpc_port}`,
    /** Reads the files of a model again. */
    reload: (model: string) => fetch(`${address}/v2/repository/models/${model}/load`, { method: 'POST' }),
    stop,
  }
}
