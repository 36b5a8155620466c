/** Creates a folder with its own PATH: shell scripts in place of programs, and links to real programs. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findOnPath } from '@tenure/embedded/install/machine'
import { systemEnvironment } from '../../../temporal.config.ts'

export interface ProgramFolder {
  home: string
  /** The folder of the programs, inside `home`. */
  bin: string
  /** Writes a shell script with this name. */
  program(name: string, script: string): void
  /** Links to programs of this machine. */
  link(...names: string[]): void
  remove(): void
}

export function openProgramFolder(prefix: string): ProgramFolder {
  const home = mkdtempSync(join(tmpdir(), prefix))
  const bin = join(home, 'bin')
  mkdirSync(bin)
  return {
    home,
    bin,
    program(name, script) {
      writeFileSync(join(bin, name), `#!/bin/sh\n${script}\n`)
      chmodSync(join(bin, name), 0o755)
    },
    link(...names) {
      for (const name of names) symlinkSync(findOnPath(name, systemEnvironment()) as string, join(bin, name))
    },
    remove: () => rmSync(home, { recursive: true, force: true }),
  }
}
