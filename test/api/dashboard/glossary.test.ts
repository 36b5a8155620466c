import { expect, it } from 'vitest'
import { glossary, GlossaryList, Term } from '../../../api/dashboard/glossary.tsx'
import { DataTable } from '../../../api/dashboard/components/elements.tsx'

it('explains each word once, and a term of a table leads to its entry', async () => {
  const words = glossary.flatMap((entry) => entry.words)
  expect(new Set(words).size).toBe(words.length)
  const page = String(await GlossaryList())
  for (const word of words) {
    const [, key] = /href="\/glossary#([\w-]+)" title="[^"]{40,}"/.exec(String(await Term({ word }))) ?? []
    expect(page).toContain(`<dt id="${key}">`)
  }
  const ids = [...page.matchAll(/id="([^"]+)"/g)].map(([, id]) => id)
  expect(new Set(ids).size).toBe(glossary.length)
})

it('explains intervals of every level', async () => {
  expect(String(await Term({ word: '97.5 % interval' }))).toMatch(/confidence-interval".*>97\.5 % interval</s)
})

it('leaves a word that is not a term unchanged and escaped', async () => {
  expect(String(await Term({ word: 'Started <b>' }))).toBe('Started &lt;b&gt;')
  const table = await DataTable({
    caption: 'c',
    rows: [1],
    empty: '',
    columns: [{ head: 'PSI', cell: String }],
  })
  expect(String(table)).toContain('<a class="term" href="/glossary#psi"')
  expect(String(table)).toContain('data-head="PSI"')
})
