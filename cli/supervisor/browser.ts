/** Opens a page in the default browser of a desktop. Opens nothing on a server, in CI and over SSH, where the printed address remains. */
import { spawn } from 'node:child_process'
import { environmentWith } from '../../temporal.config.ts'

interface Surroundings {
  environment: Record<string, string | undefined>
  platform: NodeJS.Platform
  /** Whether a person reads the output on a terminal. */
  interactive: boolean
}

/** Whether the user who typed the command sees a browser that opens here. */
export function hasDesktop({ environment, platform, interactive }: Surroundings): boolean {
  const isSet = (name: string) => (environment[name] ?? '') !== ''
  if (!interactive || isSet('CI') || isSet('SSH_CONNECTION') || isSet('SSH_TTY')) return false
  return platform !== 'linux' || isSet('DISPLAY') || isSet('WAYLAND_DISPLAY')
}

/** `wanted` is true for `--open` and false for `--no-open`; if undefined, the page opens on a desktop. */
export function openBrowser(
  url: string,
  { wanted, interactive }: { wanted?: boolean; interactive: boolean },
): void {
  const { platform } = process
  const environment = environmentWith({})
  if (!(wanted ?? hasDesktop({ environment, platform, interactive }))) return
  const command = platform === 'darwin' ? 'open' : 'xdg-open'
  // Ignores a missing command.
  spawn(command, [url], { stdio: 'ignore', detached: true })
    .on('error', () => {})
    .unref()
}
