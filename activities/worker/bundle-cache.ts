/**
 * The compiled workflows, kept beside the packages. To compile them takes seconds of a core; after a crash of the machine every
 * worker would spend them at once, while releases wait and candidates are withdrawn. What was kept is used only as long as no
 * source and no package is another, because workflow code that is not the source's breaks the releases that are under way.
 */
import { createHash, type Hash } from 'node:crypto'
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'

/** All that goes into the bundle, apart from packages; test/tidy.test.ts holds the workflows to it. */
const sources = ['workflows', 'domain']
/** Written by npm with every change of a package. */
const packages = join('node_modules', '.package-lock.json')

/** The code for the sources below `root`: as it was kept, or made anew and kept. */
export async function keptBundle(root: string, make: () => Promise<string>): Promise<string> {
  const path = await placeOf(root)
  const kept = path && (await readFile(path, 'utf8').catch(() => undefined))
  if (kept !== undefined && kept !== '') return kept
  const code = await make()
  // What has changed meanwhile may be in it or not. A checkout that cannot be written to compiles each time.
  if (path !== undefined && path === (await placeOf(root))) await keep(path, code).catch(() => {})
  return code
}

/** Nothing where the packages do not say which they are. */
async function placeOf(root: string): Promise<string | undefined> {
  try {
    const hash = createHash('sha256').update(process.version)
    hash.update(await readFile(join(root, packages)))
    for (const source of sources) await addFiles(hash, root, source)
    return join(root, 'node_modules', '.tenure', 'workflows', `${hash.digest('hex')}.js`)
  } catch {
    return undefined
  }
}

async function addFiles(hash: Hash, root: string, directory: string): Promise<void> {
  const entries = await readdir(join(root, directory), { withFileTypes: true })
  for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = join(directory, entry.name)
    if (entry.isDirectory()) await addFiles(hash, root, path)
    else hash.update(`${path}\n`).update(await readFile(join(root, path)))
  }
}

/** In one step, for others may start at the same time; what was kept of other sources is given up. */
async function keep(path: string, code: string): Promise<void> {
  const directory = dirname(path)
  await mkdir(directory, { recursive: true })
  const draft = `${path}.${process.pid}`
  await writeFile(draft, code)
  await rename(draft, path)
  for (const name of await readdir(directory)) {
    const other = join(directory, name)
    if (other !== path && name.endsWith('.js')) await rm(other, { force: true })
  }
}
