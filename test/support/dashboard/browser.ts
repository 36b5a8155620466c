/**
 * Starts the Chromium of an npm package for tests of pages. It is unpacked once into the cache, with its own libraries and fonts for
 * machines that lack them.
 */
import { execFileSync } from 'node:child_process'
import { createReadStream, createWriteStream, existsSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { createBrotliDecompress } from 'node:zlib'
import { chromium, type Browser } from 'playwright-core'
import { cacheDir, environmentWith } from '../../../temporal.config.ts'

/**
 * No sandbox, because tests also run as root in containers; they load only local pages. With more renderer processes, Chromium would start
 * one more for the first page of each context.
 */
const flags = [
  '--no-sandbox',
  '--renderer-process-limit=1',
  '--no-zygote',
  '--disable-gpu',
  '--disable-dev-shm-usage',
  '--font-render-hinting=none',
  '--hide-scrollbars',
]

/** Throws with the names of missing libraries when Chromium cannot start. */
export async function startBrowser(): Promise<Browser> {
  const home = await unpacked()
  const executablePath = join(home, 'chromium')
  const lacking = librariesLackedBy(executablePath, {})
  const libraries: Record<string, string> = lacking.length === 0 ? {} : { LD_LIBRARY_PATH: join(home, 'lib') }
  const still = lacking.length === 0 ? [] : librariesLackedBy(executablePath, libraries)
  if (still.length > 0)
    throw new Error(
      `Chromium needs libraries that this machine lacks: ${still.join(', ')} (apt-get install libnss3)`,
    )
  const fonts = existsSync('/etc/fonts/fonts.conf') ? {} : { FONTCONFIG_FILE: join(home, 'own-fonts.conf') }
  const environment = environmentWith({ ...libraries, ...fonts })
  const env = Object.fromEntries(
    Object.entries(environment).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  )
  try {
    return await chromium.launch({ executablePath, args: flags, env, timeout: 100_000 })
  } catch (error) {
    throw new Error(`Chromium does not start on this machine: ${(error as Error).message}`, { cause: error })
  }
}

/** Unpacks the browser with its libraries and fonts, and returns their directory. When several processes unpack at once, one wins. */
async function unpacked(): Promise<string> {
  const packed = join(dirname(createRequire(import.meta.url).resolve('@sparticuz/chromium')), '..', '..')
  const { version } = createRequire(import.meta.url)(join(packed, 'package.json')) as { version: string }
  const home = join(cacheDir(), `chromium-${version}`)
  if (existsSync(home)) return home
  await mkdir(cacheDir(), { recursive: true })
  const draft = await mkdtemp(join(cacheDir(), 'chromium-draft-'))
  try {
    const bin = join(packed, 'bin')
    await unpack(join(bin, 'chromium.br'), join(draft, 'chromium'))
    await chmod(join(draft, 'chromium'), 0o755)
    for (const name of ['al2023', 'fonts']) {
      const archive = join(draft, `${name}.tar`)
      await unpack(join(bin, `${name}.tar.br`), archive)
      execFileSync('tar', ['--no-same-owner', '-xf', archive, '-C', draft])
      await rm(archive)
    }
    const fonts = `<fontconfig><dir>${join(home, 'fonts')}</dir><cachedir>${join(home, 'fonts')}</cachedir></fontconfig>`
    await writeFile(join(draft, 'own-fonts.conf'), `<?xml version="1.0"?>${fonts}\n`)
    await chmod(draft, 0o755)
    await rename(draft, home)
  } catch (error) {
    await rm(draft, { recursive: true, force: true })
    if (!existsSync(home)) throw error
  }
  return home
}

const unpack = (from: string, to: string): Promise<void> =>
  pipeline(createReadStream(from), createBrotliDecompress(), createWriteStream(to))

function librariesLackedBy(path: string, environment: Record<string, string>): string[] {
  try {
    const found = execFileSync('ldd', [path], { env: environmentWith(environment), encoding: 'utf8' })
    return [...found.matchAll(/^\s*(\S+) => not found/gm)].map(([, name]) => name!)
  } catch {
    // This machine has no `ldd`; a missing library shows when Chromium starts.
    return []
  }
}
