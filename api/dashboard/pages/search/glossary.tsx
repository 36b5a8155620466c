/** Explains the terms of releases and statistics. */
import { GlossaryList } from '../../glossary.tsx'
import { definePage } from '../../page.ts'

export const glossaryPage = definePage({
  load: async () => ({}),
  title: () => 'Glossary',
  view: () => (
    <>
      <h1>Glossary</h1>
      <section class="card">
        <GlossaryList />
      </section>
    </>
  ),
})
