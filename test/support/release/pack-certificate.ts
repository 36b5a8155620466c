/** Packs the package that verifies certificates, as npm does, into a folder of its own. */
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { checkout } from '../../../temporal.config.ts'

/** Returns the folder, which holds the compiled command and nothing else. */
export function packCertificate(place: string): string {
  const copy = join(place, 'packages', 'certificate')
  cpSync(join(checkout, 'packages', 'certificate'), copy, {
    recursive: true,
    filter: (path) => !/\/(dist|node_modules)$/.test(path),
  })
  for (const name of ['domain', 'node_modules']) symlinkSync(join(checkout, name), join(place, name))
  execFileSync(process.execPath, [join(checkout, 'deploy', 'package', 'bundle-package.mjs'), 'before'], {
    cwd: copy,
  })
  const folder = join(place, 'verifier')
  mkdirSync(folder)
  for (const name of ['certificate.mjs', 'dist', 'package.json'])
    cpSync(join(copy, name), join(folder, name), { recursive: true })
  rmSync(join(place, 'packages'), { recursive: true })
  for (const name of ['domain', 'node_modules']) rmSync(join(place, name))
  return folder
}
