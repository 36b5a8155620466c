/** Opens a page in the default browser of a desktop. On a server, in CI and over SSH nothing opens: the address is printed. */
import { spawn } from 'node:child_process'
import { environmentWith } from '../../temporal.config.ts'

interface Surroundings {
  environment: Record<string, string | undefined>
  platform: NodeJS.Platform
  /** Whether a person reads the output on a terminal. */
  interactive: boolean
}

/** Whether a browser that opens here is seen by the person who has typed the command. */
export function hasDesktop({ environment, platform, interactive }: Surroundings): boolean {
  const isSet = (name: string) => (environment[name] ?? '') !== ''
  if (!interactive || isSet('CI') || isSet('SSH_CONNECTION') || isSet('SSH_TTY')) return false
  return platform !== 'linux' || isSet('DISPLAY') || isSet('WAYLAND_DISPLAY')
}

/** `wanted` is true after `--open` and false after `--no-open`; otherwise it opens on a desktop. */
export function openBrowser(
  url: string,
  { wanted, interactive }: { wanted?: boolean; interactive: boolean },
): void {
  const { platform } = process
  const environment = environmentWith({})
  if (!(wanted ?? hasDesktop({ environment, platform, interactive }))) return
  const command = platform === 'darwin' ? 'open' : 'xdg-open'
  // A machine without the command opens nothing.
  spawn(command, [url], { stdio: 'ignore', detached: true })
    .on('error', () => {})
    .unref()
}
