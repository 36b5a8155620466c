/** Digests the source of a snapshot for its lineage: the queries and the bytes of the files. */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { resolve } from 'node:path'
import type { SourceDefinition } from '../../domain/model-definition.ts'
import { isPattern } from '../../domain/addresses/source-address.ts'
import { digestOfJson } from '../../store/artifacts.ts'
import { projectFolder } from '../../temporal.config.ts'
import { withCopiedFiles, type SourceCopies } from './source-copies.ts'
import { inspectFiles } from './source-files.ts'

/** Throws `source_unreadable` for a file that is missing or has another format. */
export async function digestOfSource(
  source: SourceDefinition,
  copies: SourceCopies = {},
): Promise<Record<string, unknown>> {
  const found = await inspectFiles(withCopiedFiles(source, copies))
  const files: Record<string, { path: string; digest: string; files?: Record<string, string> }> = {}
  for (const [name, path] of Object.entries(source.files)) {
    const digests: Record<string, string> = {}
    for (const { file, place } of found.filter((each) => each.name === name))
      digests[place] = await digestOfFile(file)
    // The digest of a pattern covers the names and digests of its files.
    files[name] = isPattern(copies[path] ?? path)
      ? { path, digest: digestOfJson(digests), files: digests }
      : { path, digest: Object.values(digests)[0]! }
  }
  return { kind: source.kind, files, rows: source.rows, ...(source.derive ? { derive: source.derive } : {}) }
}

async function digestOfFile(file: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(resolve(projectFolder, file))) hash.update(chunk as Buffer)
  return `sha256:${hash.digest('hex')}`
}
