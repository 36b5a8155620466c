/**
 * Stores the last routes, kill switches and versions on the disk of a replica, so that it can restart and serve while Postgres is
 * unavailable. The snapshot is signed; a modified one is rejected.
 */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isError } from '../../../domain/errors.ts'
import type { Manifest } from '../../../domain/model/manifest.ts'
import { isNewer, type Route } from '../../../domain/serving/route.ts'
import { getArtifact, getManifest, openArtifacts, type Artifacts } from '../../../store/artifacts.ts'
import type { FallbackRow, SwitchRow } from '../../../store/serving/routing.ts'
import { replaceFile } from '../../../store/replace-file.ts'
import type { Signer } from '../../../store/signing/signing-key.ts'
import { maxBytesOf } from '@tenure/predictors'

/** The artifact of a version and its signature, as read from the database. */
export interface VersionOrigin {
  model: string
  artifactDigest: string
  /** The signature in base64. */
  signature: string
}

export interface RoutingSnapshot {
  models: string[]
  /** As read from the table; validated again when recalled. */
  routes: unknown[]
  versions: Record<string, VersionOrigin>
  /** The fields that requests of each model may carry. */
  fields?: Record<string, string[]>
  flags: SwitchRow[]
  fallbacks: FallbackRow[]
}

export interface Cache {
  /** Returns the newest stored routes of each model from all processes on this disk, and why snapshots were rejected. */
  recall(): Promise<{ remembered?: RoutingSnapshot; isEmpty: boolean; refusals: string[] }>
  remember(what: RoutingSnapshot): Promise<void>
  /** Removes files that no snapshot names, because each release leaves files. Call it after each change of a route. */
  forgetFiles(): Promise<void>
  /** The key that signs now. After its rotation, the routes must be written again. */
  signedBy(): string
  /** Returns the files of an artifact, from this disk or the artifact store, each verified by its digest. */
  fetch(digest: string): Promise<{ manifest: Manifest; files: Record<string, Buffer> }>
}

export interface CacheOptions {
  signer: Signer
  /** The index of the process on this machine; each process writes its own file. */
  slot: string
}

const namePattern = /^routing-[\w-]+\.signed$/
/** How long files of unloaded versions are kept, for a rollback. */
const keptMs = 7 * 86_400_000
/** Prefix of the signed bytes, so that the signature of another kind of file does not verify. */
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
    // A full disk must not prevent a version from being served.
    await own.put('artifacts', bytes).catch(() => {})
    return bytes
  }
  const read = async (name: string): Promise<RoutingSnapshot | string> => {
    const bytes = await readFile(join(directory, name))
    const at = bytes.indexOf('\n')
    const signature = Buffer.from(bytes.toString('latin1', 0, Math.max(at, 0)), 'base64')
    const text = bytes.subarray(at + 1)
    if (at < 0 || !signer.verify(Buffer.concat([Buffer.from(kind), text]), signature))
      return `${name} is rejected: it does not have this installation's signature`
    return JSON.parse(text.toString('utf8')) as RoutingSnapshot
  }
  const signedNames = async (): Promise<string[]> =>
    (await readdir(directory).catch(() => [])).filter((name) => namePattern.test(name))
  const forgetFiles = async (): Promise<void> => {
    const kept = new Set<string>()
    for (const name of await signedNames()) {
      const one = await read(name)
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
      const isEmpty = names.length === 0
      if (isEmpty) refusals.push(`there is no snapshot in ${directory}`)
      return { isEmpty, refusals, ...(found.length === 0 ? {} : { remembered: found.reduce(newestOf) }) }
    },
    signedBy: () => signer.publicPem,
    async remember(what) {
      const text = JSON.stringify(what)
      const signature = signer.sign(Buffer.from(kind + text)).toString('base64')
      await replaceFile(path, `${signature}\n${text}`)
    },
    // A file that could not be removed is tried again after the next change.
    forgetFiles: () => forgetFiles().catch(() => {}),
    fetch(digest) {
      return getArtifact({ get: (_area, each, most) => bytesOf(each, most) }, digest, maxBytesOf)
    },
  }
}

type Placed = Pick<Route, 'model' | 'epoch' | 'generation'>

/** Returns the newer snapshot. When two processes ended one after the other, either may have followed newer routes. */
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
  const fields = { ...a.fields }
  for (const [model, names] of Object.entries(b.fields ?? {}))
    fields[model] = [...new Set([...(fields[model] ?? []), ...names])]
  return {
    models: [...new Set([...a.models, ...b.models])],
    routes: [...routes.values()],
    versions: { ...a.versions, ...b.versions },
    fields,
    flags: [...flags.values()],
    fallbacks: [...fallbacks.values()],
  }
}
