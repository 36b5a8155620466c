/**
 * What a replica needs to answer without Postgres: the last routes and switches it followed and the bytes of their
 * versions, on its own disk. Without it a restart during an outage of the database would turn a slow day into an outage of
 * the predictions. What is remembered is signed: a disk that was changed by anybody else is not believed.
 */
import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isError } from '../../../domain/errors.ts'
import type { Manifest } from '../../../domain/model/manifest.ts'
import { isNewer } from '../../../domain/serving/route.ts'
import { getManifest, openArtifacts, type Artifacts } from '../../../store/artifacts.ts'
import type { FallbackRow, SwitchRow } from '../../../store/serving/replicas.ts'
import type { Signer } from '../../../store/signing/signing-key.ts'
import { networkLimits } from '../network/layers-model.ts'

/** What a version is made of and who vouches for it, as it was read from the database. */
export interface VersionOrigin {
  model: string
  artifactDigest: string
  /** In base64. */
  signature: string
}

export interface RoutingSnapshot {
  models: string[]
  /** As they stood in the table, to be checked again. */
  routes: unknown[]
  versions: Record<string, VersionOrigin>
  flags: SwitchRow[]
  fallbacks: FallbackRow[]
}

export interface Cache {
  /** What the processes on this disk have remembered, the newest of each model; and why something is not believed. */
  recall(): Promise<{ remembered?: RoutingSnapshot; refusals: string[] }>
  remember(what: RoutingSnapshot): Promise<void>
  /** The files of an artifact, from this disk or else from where artifacts are kept; each checked against its digest. */
  fetch(digest: string): Promise<{ manifest: Manifest; topology: Buffer; weights: Buffer }>
}

export interface CacheOptions {
  signer: Signer
  /** Which of the processes on this machine it is; each writes a file of its own. */
  slot: string
}

const namePattern = /^routing-[\w-]+\.signed$/
/** Files of versions that nobody here holds any more are kept for so long: the way back may lead to them. */
const keptMs = 7 * 86_400_000
/** What is signed begins with what it is, so that a signature of one kind is never one of another. */
const kind = 'tenure-remembered@2\n'

export function openCache(directory: string, artifacts: Artifacts, { signer, slot }: CacheOptions): Cache {
  const own = openArtifacts(join(directory, 'files'))
  const path = join(directory, `routing-${slot}.signed`)
  const bytesOf = async (digest: string, maxBytes: number | undefined): Promise<Buffer> => {
    try {
      return await own.get('artifacts', digest, maxBytes)
    } catch (error) {
      if (!isError(error, 'artifact_corrupt')) throw error
    }
    const bytes = await artifacts.get('artifacts', digest, maxBytes)
    // A full disk here must not keep a version from being served.
    await own.put('artifacts', bytes).catch(() => {})
    return bytes
  }
  const read = async (name: string): Promise<RoutingSnapshot | string> => {
    const bytes = await readFile(join(directory, name))
    const at = bytes.indexOf('\n')
    const signature = Buffer.from(bytes.toString('latin1', 0, Math.max(at, 0)), 'base64')
    const text = bytes.subarray(at + 1)
    if (at < 0 || !signer.verify(Buffer.concat([Buffer.from(kind), text]), signature))
      return `${name} is not believed: it does not carry this installation's signature over its bytes`
    return JSON.parse(text.toString('utf8')) as RoutingSnapshot
  }
  const signedNames = async (): Promise<string[]> =>
    (await readdir(directory).catch(() => [])).filter((name) => namePattern.test(name))
  /** Removes what no process on this disk remembers: each release leaves its files, and one day the disk would be full. */
  const forgetFiles = async (): Promise<void> => {
    const kept = new Set<string>()
    for (const name of await signedNames()) {
      const one = await read(name)
      // What is not believed is not started from either.
      if (typeof one === 'string') continue
      for (const { artifactDigest } of Object.values(one.versions)) {
        kept.add(artifactDigest)
        const manifest = await getManifest(own, artifactDigest).catch(() => undefined)
        for (const { digest } of Object.values(manifest?.files ?? {})) kept.add(digest)
      }
    }
    for await (const file of own.list('artifacts'))
      if (!kept.has(file.digest) && file.writtenMs < Date.now() - keptMs)
        await own.removeListed('artifacts', file)
  }
  return {
    async recall() {
      const names = await signedNames()
      const found: RoutingSnapshot[] = []
      const refusals: string[] = []
      for (const name of names.sort()) {
        const one = await read(name).catch((error: Error) => `${name} cannot be read: ${error.message}`)
        if (typeof one === 'string') refusals.push(one)
        else found.push(one)
      }
      if (names.length === 0) refusals.push(`nothing is remembered in ${directory}`)
      return { refusals, ...(found.length === 0 ? {} : { remembered: found.reduce(newestOf) }) }
    },
    async remember(what) {
      const text = JSON.stringify(what)
      const partial = `${path}.${process.pid}`
      await mkdir(directory, { recursive: true })
      const signature = signer.sign(Buffer.from(kind + text)).toString('base64')
      await writeFile(partial, `${signature}\n${text}`, { mode: 0o600 })
      await rename(partial, path)
      // What cannot be looked through now is looked through after the next change of a route.
      await forgetFiles().catch(() => {})
    },
    async fetch(digest) {
      const manifest = await getManifest({ ...own, get: (_area, each, most) => bytesOf(each, most) }, digest)
      const [topology, weights] = await Promise.all([
        bytesOf(manifest.files['model.json'].digest, networkLimits.topologyBytes),
        bytesOf(manifest.files['weights.bin'].digest, networkLimits.weightBytes),
      ])
      return { manifest, topology, weights }
    },
  }
}

interface Placed {
  model: string
  epoch: number
  generation: number
}

/** Of two processes that were ended one after the other, the later one may have followed more. */
function newestOf(a: RoutingSnapshot, b: RoutingSnapshot): RoutingSnapshot {
  const routes = new Map<string, Placed>()
  for (const route of [...a.routes, ...b.routes] as Placed[]) {
    const other = routes.get(route.model)
    if (other === undefined || isNewer(route, other)) routes.set(route.model, route)
  }
  const flags = new Map<string, SwitchRow>()
  for (const flag of [...a.flags, ...b.flags])
    if (flag.revision > (flags.get(flag.model)?.revision ?? 0)) flags.set(flag.model, flag)
  const fallbacks = new Map([...a.fallbacks, ...b.fallbacks].map((each) => [each.model, each]))
  return {
    models: [...new Set([...a.models, ...b.models])],
    routes: [...routes.values()],
    versions: { ...a.versions, ...b.versions },
    flags: [...flags.values()],
    fallbacks: [...fallbacks.values()],
  }
}
