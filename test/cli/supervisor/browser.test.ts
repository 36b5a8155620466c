/** Tests when a command opens a browser, and that it opens the address with the program of the machine. */
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { expect, it, vi } from 'vitest'
import { hasDesktop, openBrowser } from '../../../cli/supervisor/browser.ts'
import { environmentWith } from '../../../temporal.config.ts'

it.each([
  ['a desktop of Linux', 'linux', { DISPLAY: ':0' }, true, true],
  ['a desktop with Wayland', 'linux', { WAYLAND_DISPLAY: 'wayland-0' }, true, true],
  ['a Mac', 'darwin', {}, true, true],
  ['a server', 'linux', {}, true, false],
  ['a pipe', 'linux', { DISPLAY: ':0' }, false, false],
  ['CI', 'darwin', { CI: 'true' }, true, false],
  ['SSH with a forwarded display', 'linux', { DISPLAY: ':10', SSH_CONNECTION: 'a' }, true, false],
  ['SSH to a Mac', 'darwin', { SSH_TTY: '/dev/ttys000' }, true, false],
] as const)(
  'a browser opens by itself on %s as it should',
  (_where, platform, environment, interactive, opens) =>
    expect(hasDesktop({ environment, platform, interactive })).toBe(opens),
)

it.skipIf(process.platform !== 'linux')('--open opens the address, and --no-open opens none', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tenure-browser-'))
  const opened = join(folder, 'opened')
  writeFileSync(
    join(folder, 'xdg-open'),
    `#!/bin/sh\necho "$1" > ${opened}.part && mv ${opened}.part ${opened}\n`,
  )
  chmodSync(join(folder, 'xdg-open'), 0o755)
  vi.stubEnv('PATH', `${folder}${delimiter}${environmentWith({})['PATH'] ?? ''}`)
  vi.stubEnv('DISPLAY', ':0')
  vi.stubEnv('CI', '')
  try {
    openBrowser('http://127.0.0.1:7400/no', { wanted: false, interactive: true })
    openBrowser('http://127.0.0.1:7400/guide', { wanted: true, interactive: false })
    await expect.poll(() => existsSync(opened)).toBe(true)
    expect(readFileSync(opened, 'utf8')).toBe('http://127.0.0.1:7400/guide\n')
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
