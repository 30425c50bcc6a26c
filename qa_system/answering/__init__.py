"""Questions as they are asked, and answers as a page shows them."""
