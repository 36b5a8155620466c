/**
 * Serves the static files of the pages. Each name contains a part of the file's hash, so that browsers cache it forever and never use
 * the styles of another build.
 */
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { checkout } from '../../temporal.config.ts'
import { createPromiseCache } from './promise-cache.ts'

const types = {
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
} as const

const own = (name: string) => join(checkout, 'api/dashboard/assets', name)

/** The path of each file, by name. */
const paths = {
  'style.css': () => own('style.css'),
  'page.js': () => own('page.js'),
  'icon.svg': () => own('icon.svg'),
  'htmx.js': () => createRequire(import.meta.url).resolve('htmx.org/dist/htmx.min.js'),
} as const

export type AssetName = keyof typeof paths

interface Held {
  bytes: Uint8Array<ArrayBuffer>
  hash: string
}

const cached = createPromiseCache<Held>(Object.keys(paths).length)

const hold = (name: AssetName): Promise<Held> =>
  cached(name, async () => {
    const bytes = await readFile(paths[name]())
    const hash = createHash('sha256').update(bytes).digest('hex').slice(0, 12)
    return { bytes: Uint8Array.from(bytes), hash }
  })

/** Returns the URL path of each file. */
export async function assetPaths(): Promise<Record<AssetName, string>> {
  const names = Object.keys(paths) as AssetName[]
  const found = await Promise.all(
    names.map(async (name) => {
      const [stem, ending] = name.split('.')
      return [name, `/assets/${stem}.${(await hold(name)).hash}.${ending}`] as const
    }),
  )
  return Object.fromEntries(found) as Record<AssetName, string>
}

export interface PageAsset {
  bytes: Uint8Array<ArrayBuffer>
  type: string
  /** Whether the hash in the name is that of the bytes. It differs when a replica of another build rendered the page. */
  isCurrent: boolean
}

export async function findPageAsset(file: string): Promise<PageAsset | undefined> {
  const [, stem, hash, ending] = /^([a-z]+)\.([0-9a-f]{12})\.([a-z]+)$/.exec(file) ?? []
  const name = `${stem}.${ending}`
  if (!Object.hasOwn(paths, name)) return undefined
  const { bytes, hash: current } = await hold(name as AssetName)
  return { bytes, type: types[ending as keyof typeof types], isCurrent: hash === current }
}
