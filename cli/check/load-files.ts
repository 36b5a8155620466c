/**
 * Runs one model file that was sent, and reports its definition. The process reads its own folder and the code of Tenure and its packages,
 * writes nothing, and reaches no network and no other process: Node's permissions forbid files, programs and native code, and this file
 * takes away what they leave open.
 */
import dgram from 'node:dgram'
import dns from 'node:dns'
import nodeModule from 'node:module'
import net from 'node:net'
import os from 'node:os'
import { explainLoadError, isThrownBy } from '../../models/define/load-error.ts'
import { importModel, shareVocabulary } from '../../models/index.ts'
import type { LoadedFile, LoadFileJob } from './check-files.ts'

/** Node's modules that compute. */
const modules =
  /^node:(assert|buffer|crypto|events|fs|fs\/promises|os|path|perf_hooks|querystring|stream|string_decoder|timers|timers\/promises|url|util)$/

interface Hooks {
  resolve(
    specifier: string,
    context: object,
    next: (specifier: string, context: object) => { url: string },
  ): { url: string }
}

function close(): void {
  const { registerHooks } = nodeModule as unknown as { registerHooks(hooks: Hooks): void }
  registerHooks({
    resolve(specifier, context, next) {
      const found = next(specifier, context)
      if (found.url.startsWith('node:') && !modules.test(found.url))
        throw new Error(
          `the server checks files without "${specifier}": import it in train, or in a training program`,
        )
      return found
    },
  })
  for (const name of ['fetch', 'WebSocket', 'EventSource']) Reflect.deleteProperty(globalThis, name)
  const refuse = () => {
    throw new Error('the server checks files without a network and without other processes')
  }
  for (const [owner, names] of roads())
    for (const name of names)
      // A package may ask whether the process has one of these.
      Object.defineProperty(owner, name, { value: owner === process ? undefined : refuse })
  nodeModule.syncBuiltinESMExports()
  // A message with a handle would give the file a socket.
  process.removeAllListeners('internalMessage')
}

const functionsOf = (owner: object) =>
  Object.entries(owner).flatMap(([name, value]) => (typeof value === 'function' ? [name] : []))

/**
 * What all of Node ends in where it opens a connection, also the client behind `Response`, and what reaches another process or the modules
 * that `close` refuses.
 */
const roads = (): [owner: object, names: string[]][] => [
  [net, functionsOf(net).filter((name) => name.startsWith('_'))],
  [net.Socket.prototype, ['connect']],
  [net.Server.prototype, ['listen', '_listen2']],
  [dgram.Socket.prototype, functionsOf(dgram.Socket.prototype)],
  ...[dns, dns.promises].flatMap((each): [object, string[]][] => [
    [each, functionsOf(each).filter((name) => /^(lookup|resolve|reverse)/.test(name))],
    [each.Resolver.prototype, Object.getOwnPropertyNames(each.Resolver.prototype)],
  ]),
  [nodeModule, ['register', 'registerHooks']],
  [os, ['setPriority']],
  [
    process,
    [
      'getBuiltinModule',
      'kill',
      '_kill',
      '_debugProcess',
      '_getActiveHandles',
      '_getActiveRequests',
      '_linkedBinding',
    ],
  ],
]

process.once('message', (job: LoadFileJob) => {
  const send = (message: LoadedFile | { isReady: true }) =>
    new Promise<void>((resolve) => process.send?.(message, () => resolve()))
  const uncaught: unknown[] = []
  process.on('uncaughtException', (error) => uncaught.push(error))
  const load = async (): Promise<LoadedFile> => {
    try {
      const { definition } = await importModel(job.path, job.digest, job.name)
      await new Promise((resolve) => setImmediate(resolve))
      const own = uncaught.find((error) => !(error instanceof Error) || isThrownBy(error, job.path))
      return own === undefined ? { definition } : { issues: await explainLoadError(own, job.path) }
    } catch (error) {
      return { issues: await explainLoadError(error, job.path) }
    }
  }
  const run = async () => {
    await shareVocabulary()
    close()
    await send({ isReady: true })
    await send(await load())
  }
  void run().finally(() => process.exit(0))
})
process.on('disconnect', () => process.exit(1))
